// Session strings written (or, with --read, read) by mtcute's converters, GramJS and MTKruto themselves. See README.md.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { text as input } from 'node:stream/consumers'
import * as convert from '@mtcute/convert'
import { readStringSession, writeStringSession } from '@mtcute/core/utils.js'

const require = createRequire(import.meta.url)
const { StringSession } = require('telegram/sessions')
const { AuthKey } = require('telegram/crypto/AuthKey')
const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version

// As in test_session_string.c and make.py.
function makeKey(pattern) {
    const key = new Uint8Array(256)
    for (let i = 0; i < 256; i++) key[i] = i * (2 * pattern + 1) + pattern * 37 + (i >> 3) * pattern * 5
    if (pattern === 3) key.fill(0, 40, 90)
    if (pattern === 7) key.fill(0, 0, 255)
    if (pattern === 8) key.fill(0, 1)
    return key
}

// A case's key is the number of a pattern, or hexadecimal.
const keyOf = (c) => typeof c.key === 'number' ? makeKey(c.key) : new Uint8Array(Buffer.from(c.key, 'hex'))

function patternOf(key) {
    for (let pattern = 0; pattern < 16; pattern++)
        if (Buffer.compare(Buffer.from(key), makeKey(pattern)) === 0) return pattern
    return Buffer.from(key).toString('hex')
}

function mtcute(self, media) {
    return (c) => {
        const main = { id: c.dc_id, ipAddress: c.address, port: c.port, ipv6: c.address.includes(':'), testMode: c.test }
        return writeStringSession({
            version: 3,
            primaryDcs: { main, media: media ? { ...main, mediaOnly: true, ipAddress: '149.154.167.222' } : main },
            self: self ? { userId: c.user_id, isBot: c.is_bot } : null,
            authKey: keyOf(c),
        })
    }
}

function readMtcute(text) {
    const { primaryDcs: { main }, self, authKey } = readStringSession(text)
    return {
        dc_id: main.id, test: Boolean(main.testMode), address: main.ipAddress, port: main.port,
        user_id: self?.userId, is_bot: self?.isBot, key: patternOf(authKey),
    }
}

async function gramjs(c) {
    const session = new StringSession('')
    session.setDC(c.dc_id, c.address, c.port)
    session.authKey = new AuthKey()
    await session.authKey.setKey(Buffer.from(keyOf(c)))
    return session.save()
}

async function readGramjs(text) {
    const session = new StringSession(text)
    await session.load()
    return { dc_id: session.dcId, address: session.serverAddress, port: session.port, key: patternOf(session.authKey.getKey()) }
}

// MTKruto comes from a folder with its package for Node.js: no registry of packages for Node.js has it.
async function mtkrutoFrom(folder) {
    const { StorageOperations } = await import(`${folder}/esm/client/0_storage_operations.js`)
    const { StorageMemory } = await import(`${folder}/esm/storage/2_storage_memory.js`)
    async function storage() {
        const made = new StorageOperations(new StorageMemory())
        await made.initialize()
        return made
    }
    return {
        async write(c) {
            if (c.api_id === 0 || c.api_id > 2 ** 31 - 1) return null // it holds no such
            const made = await storage()
            await made.setDc(c.dc_id + (c.test ? '-test' : ''))
            await made.setAuthKey(keyOf(c))
            await made.setApiId(c.api_id)
            await made.setAccountId(c.user_id)
            await made.setAccountType(c.is_bot ? 'bot' : 'user')
            return made.exportAuthString()
        },
        async read(text) {
            const made = await storage()
            await made.importAuthString(text)
            const [dc, type] = [await made.getDc(), await made.getAccountType()]
            return {
                dc_id: parseInt(dc), test: dc.endsWith('-test'), api_id: await made.getApiId(),
                user_id: await made.getAccountId(), is_bot: type === 'bot', key: patternOf(await made.getAuthKey()),
            }
        },
    }
}

const place = (c) => ({ dcId: c.dc_id, ipAddress: c.address, ipv6: c.address.includes(':'), port: c.port, authKey: keyOf(c) })
const account = (c) => ({ dcId: c.dc_id, isTest: c.test, authKey: keyOf(c), userId: c.user_id, isBot: c.is_bot })
const converted = (parse) => (text) => {
    const s = parse(text)
    return {
        dc_id: s.dcId, test: s.isTest, api_id: s.apiId, user_id: s.userId, is_bot: s.isBot, address: s.ipAddress, port: s.port,
        key: patternOf(s.authKey),
    }
}
const convertName = `@mtcute/convert ${versionOf('@mtcute/convert')}`
const gramjsName = `GramJS ${versionOf('telegram')}`

// format, maker, carried fields, writer, whether gramd writes the same text
const formats = [
    ['gramjs', gramjsName, ['address', 'port'], gramjs, true],
    ['gramjs', convertName, ['address', 'port'], (c) => convert.serializeGramjsSession(place(c)), true],
    ['telethon', convertName, ['address', 'port'], (c) => convert.serializeTelethonSession(place(c)), true],
    ['pyrogram', convertName, ['api_id', 'user_id', 'is_bot'],
        (c) => convert.serializePyrogramSession({ ...account(c), apiId: c.api_id }), true],
    ['pyrogram-old64', convertName, ['user_id', 'is_bot'], (c) => convert.serializePyrogramSession(account(c)), true],
    ['mtcute', convertName, ['address', 'port', 'user_id', 'is_bot'], mtcute(true, false), true],
    ['mtcute', convertName, ['address', 'port'], mtcute(false, false), true],
    ['mtcute', convertName, ['address', 'port', 'user_id', 'is_bot'], mtcute(true, true), false],
    ['mtkruto', convertName, [],
        (c) => convert.serializeMtkrutoSession({ dcId: c.dc_id, isTest: c.test, authKey: keyOf(c) }), false],
]
const readers = {
    'gramjs': { [gramjsName]: readGramjs, [convertName]: converted(convert.parseGramjsSession) },
    'telethon': { [convertName]: converted(convert.parseTelethonSession) },
    'pyrogram': { [convertName]: converted(convert.parsePyrogramSession) },
    'pyrogram-old64': { [convertName]: converted(convert.parsePyrogramSession) },
    'mtcute': { [convertName]: readMtcute },
    'mtkruto': { [convertName]: converted(convert.parseMtkrutoSession) },
}
if (process.env.MTKRUTO) {
    const mtkruto = await mtkrutoFrom(process.env.MTKRUTO)
    formats.push(['mtkruto', 'MTKruto', ['api_id', 'user_id', 'is_bot'], mtkruto.write, true])
    readers.mtkruto.MTKruto = mtkruto.read
}

function row(name, maker, carried, same, c, text) {
    const number = (field) => carried.includes(field) ? Number(c[field]) : -1
    const address = carried.includes('address') ? JSON.stringify(c.address) : 'NULL'
    return `{ "${name}", "${maker}", ${c.dc_id}, ${Number(c.test)}, ${number('api_id')}, ` +
        `${number('user_id')}, ${number('is_bot')}, ${address}, ${number('port')}, ${c.key}, ${same},\n  "${text}" },`
}

// Rows for the C test, or lines of JSON.
async function write(cases, json) {
    for (const [format, maker, carried, writer, same] of formats) {
        for (const [number, c] of cases.entries()) {
            const text = await writer(c)
            if (text === null) continue
            console.log(json ? JSON.stringify({ format, maker, number, carried, text }) : row(format, maker, carried, same, c, text))
        }
    }
}

async function read(lines) {
    for (const line of lines) {
        const [format, text] = line.split(' ')
        for (const [maker, reader] of Object.entries(readers[format] ?? {}))
            console.log(JSON.stringify({ format, maker, text, ...await reader(text) }))
    }
}

if (process.argv[2] === '--read') await read((await input(process.stdin)).trim().split('\n'))
else if (process.argv[2] === '--json') await write(JSON.parse(await input(process.stdin)), true)
else await write(JSON.parse(readFileSync(process.argv[2], 'utf8')), false)
