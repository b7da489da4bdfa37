// The conversation of the clients in JavaScript. `call(method, params)` is the client's own.

export const socket = process.env.GRAMD_SOCKET

function expect(what, found, wanted) {
    if (!wanted(found)) {
        console.error(`${what}:`, found)
        process.exit(1)
    }
}

const same = (number) => (found) => BigInt(found) === BigInt(number)

export async function talk(call, name, hash) {
    const channel = -1001234567890
    expect('hello', await call('hello', [{ client: name }]), (answer) => answer.server === 'gramd')
    const { session } = await call('open', [name, {}])
    expect('update_peers', await call('update_peers', [session, [[channel, hash, 'channel', 'news', null]]]),
        (answer) => answer === null)
    const peer = await call('get_peer_by_id', [session, channel])
    expect('the id', peer[0], same(channel))
    expect('the access hash', peer[1], same(hash))
    expect('the username', peer[3], (found) => found === 'news')
    const refused = await call('get_peer_by_id', [session, 42]).catch((error) => error)
    expect('an error', refused, (error) => error[0] === 'not_found')
    expect('what follows it', await call('ping', ['on']), (answer) => answer === 'on')
    await call('close', [session])
    process.exit(0)
}

/** For encoders that know nothing of MessagePack-RPC: `send` writes a message, the result takes those that come. */
export function rpc(send) {
    const waiting = new Map()
    let last = 0
    const call = (method, params) => new Promise((resolve, reject) => {
        waiting.set(++last, [resolve, reject])
        send([0, last, method, params])
    })
    const take = ([, id, error, result]) => {
        const [resolve, reject] = waiting.get(Number(id))
        waiting.delete(Number(id))
        if (error) reject(error)
        else resolve(result)
    }
    return { call, take }
}
