// Session strings written (or, with --read, read) by mtcute's converters and GramJS themselves. See README.md.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as convert from '@mtcute/convert'
import { readStringSession, writeStringSession } from '@mtcute/core/utils.js'

const require = createRequire(import.meta.url)
const { StringSession } = require('telegram/sessions')
const { AuthKey } = require('telegram/crypto/AuthKey')

// As in test_session_string.c and make.py.
function makeKey(pattern) {
    const key = new Uint8Array(256)
    for (let i = 0; i < 256; i++) key[i] = i * (2 * pattern + 1) + pattern * 37 + (i >> 3) * pattern * 5
    if (pattern === 3) key.fill(0, 40, 90)
    return key
}

function patternOf(key) {
    for (let pattern = 0; pattern < 16; pattern++)
        if (Buffer.compare(Buffer.from(key), makeKey(pattern)) === 0) return pattern
    return null
}

function mtcute(self, media) {
    return (c) => {
        const main = { id: c.dc_id, ipAddress: c.address, port: c.port, ipv6: c.address.includes(':'), testMode: c.test }
        return writeStringSession({
            version: 3,
            primaryDcs: { main, media: media ? { ...main, mediaOnly: true, ipAddress: '149.154.167.222' } : main },
            self: self ? { userId: c.user_id, isBot: c.is_bot } : null,
            authKey: makeKey(c.key),
        })
    }
}

async function gramjs(c) {
    const session = new StringSession('')
    session.setDC(c.dc_id, c.address, c.port)
    session.authKey = new AuthKey()
    await session.authKey.setKey(Buffer.from(makeKey(c.key)))
    return session.save()
}

const place = (c) => ({ dcId: c.dc_id, ipAddress: c.address, ipv6: c.address.includes(':'), port: c.port, authKey: makeKey(c.key) })
const account = (c) => ({ dcId: c.dc_id, isTest: c.test, authKey: makeKey(c.key), userId: c.user_id, isBot: c.is_bot })
const convertName = '@mtcute/convert 0.29.7'

// format, maker, carried fields, writer, whether gramd writes the same text
const formats = [
    ['gramjs', 'GramJS 2.26.22', ['address', 'port'], gramjs, true],
    ['gramjs', convertName, ['address', 'port'], (c) => convert.serializeGramjsSession(place(c)), true],
    ['telethon', convertName, ['address', 'port'], (c) => convert.serializeTelethonSession(place(c)), true],
    ['pyrogram', convertName, ['api_id', 'user_id', 'is_bot'],
        (c) => convert.serializePyrogramSession({ ...account(c), apiId: c.api_id }), true],
    ['pyrogram-old64', convertName, ['user_id', 'is_bot'], (c) => convert.serializePyrogramSession(account(c)), true],
    ['mtcute', convertName, ['address', 'port', 'user_id', 'is_bot'], mtcute(true, false), true],
    ['mtcute', convertName, ['address', 'port'], mtcute(false, false), true],
    ['mtcute', convertName, ['address', 'port', 'user_id', 'is_bot'], mtcute(true, true), false],
    ['mtkruto', convertName, [],
        (c) => convert.serializeMtkrutoSession({ dcId: c.dc_id, isTest: c.test, authKey: makeKey(c.key) }), true],
]

async function write(cases) {
    for (const [name, maker, carried, writer, same] of formats) {
        for (const c of cases) {
            const number = (field) => carried.includes(field) ? Number(c[field]) : -1
            const address = carried.includes('address') ? JSON.stringify(c.address) : 'NULL'
            console.log(`{ "${name}", "${maker}", ${c.dc_id}, ${Number(c.test)}, ${number('api_id')}, ` +
                `${number('user_id')}, ${number('is_bot')}, ${address}, ${number('port')}, ${c.key}, ${same},\n` +
                `  "${await writer(c)}" },`)
        }
    }
}

const readers = {
    'gramjs': convert.parseGramjsSession,
    'telethon': convert.parseTelethonSession,
    'pyrogram': convert.parsePyrogramSession,
    'pyrogram-old64': convert.parsePyrogramSession,
    'mtcute': readStringSession,
    'mtkruto': convert.parseMtkrutoSession,
}

if (process.argv[2] === '--read') {
    for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
        const [name, text] = line.split(' ')
        const { authKey, ...fields } = readers[name](text)
        if (name === 'gramjs') {
            const session = new StringSession(text)
            await session.load()
            Object.assign(fields, { gramjs: [session.dcId, session.serverAddress, session.port, patternOf(session.authKey.getKey())] })
        }
        console.log(name, JSON.stringify({ ...fields, key: patternOf(authKey) }))
    }
} else {
    await write(JSON.parse(readFileSync(process.argv[2], 'utf8')))
}
