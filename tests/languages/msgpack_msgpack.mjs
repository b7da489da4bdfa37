// @msgpack/msgpack with 64-bit integers as BigInt: then numbers beyond 32 bits are floats.

import { createConnection } from 'node:net'
import { createRequire } from 'node:module'
import { rpc, socket, talk } from './talk.mjs'

const { decodeMultiStream, encode } = createRequire(process.cwd() + '/')('@msgpack/msgpack')
const options = { useBigInt64: true }
const connection = createConnection(socket)
const { call, take } = rpc((message) => connection.write(encode(message, options)))
async function read() {
    for await (const message of decodeMultiStream(connection, options)) take(message)
}
read()
await talk(call, 'msgpack_msgpack', 2n ** 62n + 1n)
