// msgpackr, as it comes: integers beyond 32 bits are floats.

import { createConnection } from 'node:net'
import { createRequire } from 'node:module'
import { rpc, socket, talk } from './talk.mjs'

const { Packr, UnpackrStream } = createRequire(process.cwd() + '/')('msgpackr')
const packr = new Packr({ useRecords: false })
const connection = createConnection(socket)
const { call, take } = rpc((message) => connection.write(packr.pack(message)))
connection.pipe(new UnpackrStream({ useRecords: false })).on('data', take)
await talk(call, 'msgpackr', 2n ** 62n + 1n)
