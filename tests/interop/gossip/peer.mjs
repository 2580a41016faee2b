// A libp2p peer of the published JavaScript implementation, controlled over standard input and output.
//
//   node peer.mjs PROTOCOL        e.g. /iota-gossip/8453507715857476362/1.0.0
//
// It reads commands and writes events, each a JSON object on a line of its own. A process holds any number of hosts,
// each with an identity of its own; transport: TCP, noise, yamux. Of its own accord a host only asks for identify on
// a new connection, answers it, and sends the pings of yamux; it neither reconnects nor closes connections. Names of
// streams hold for the whole process, and a name is free again once its stream is closed. A command and its events:
//
//   {"do":"host","name":"h","seed":"64 hex digits, optional","listen":true}
//       {"event":"host","name":"h","id":"12D3Koo…","addresses":["/ip4/127.0.0.1/tcp/PORT/p2p/12D3Koo…"]}
//   {"do":"connect","host":"h","to":"/ip4/…/p2p/…","as":"c1"}   (an open connection with that peer is used again)
//       {"event":"connected","host":"h","as":"c1","id":"REMOTE"} or
//       {"event":"failed","host":"h","as":"c1","error":"…"}
//   {"do":"dial","host":"h","to":"/ip4/…/p2p/…","stream":"s1"}   (connects like connect, then opens a stream)
//   {"do":"open","host":"h","id":"REMOTE","stream":"s1"}         (on an open connection)
//       {"event":"open","host":"h","stream":"s1","id":"REMOTE","inbound":false} or
//       {"event":"failed","host":"h","stream":"s1","error":"…"}
//   {"do":"write","stream":"s1","hex":"040e00…"}   (these bytes as they are, after those of earlier writes)
//       nothing, or {"event":"writeError","stream":"s1","error":"…"}
//   {"do":"identify","host":"h","id":"REMOTE"}   (asks the peer anew)
//       {"event":"identified","host":"h","id":"REMOTE","agentVersion":"…","protocolVersion":"…","protocols":[…],
//        "listenAddresses":[…]}
//   {"do":"close","stream":"s1"}   (resets it)
//   {"do":"hangup","host":"h","id":"REMOTE"}   (closes every connection with that peer, in an orderly way)
//   {"do":"quit"}   (so does the end of the input)
//
// Events that no command asks for:
//
//   {"event":"open","host":"h","stream":"in-1","id":"REMOTE","inbound":true}
//   {"event":"data","stream":"s1","hex":"…"}
//   {"event":"closed","stream":"s1","how":"end"}   (once a stream, after its data: "reset" if either side reset it,
//       "end" if the remote ended it - its own side is then ended, too - or the connection closed)
//   {"event":"disconnected","host":"h","id":"REMOTE"}   (once a connection)
//   {"event":"error","of":COMMAND,"error":"…"}   (for any other command that cannot be done)

import { createInterface } from 'node:readline';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

const IDENTIFY_WITHIN_MS = 5000;
const PROTOCOL = process.argv[2];

const hosts = new Map(); // name -> libp2p node
const streams = new Map(); // name -> { stream, written: a promise that settles when all writes have been sent }
let inboundStreams = 0;

// libp2p uses this function, which Node has only from version 22 on.
Promise.withResolvers ??= () => {
  const resolvers = {};
  resolvers.promise = new Promise((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return resolvers;
};

const commands = {
  async host({ name, seed, listen }) {
    if (hosts.has(name)) throw new Error(`host ${name} exists`);
    const privateKey = seed && (await generateKeyPairFromSeed('Ed25519', fromHex(seed)));
    const node = await createNode(privateKey, listen);
    hosts.set(name, node);
    node.addEventListener('connection:close', ({ detail }) => {
      emit('disconnected', { host: name, id: detail.remotePeer.toString() });
    });
    const onStream = (stream, connection) => addStream(name, `in-${++inboundStreams}`, stream, connection);
    await node.handle(PROTOCOL, onStream, { maxInboundStreams: Infinity, maxOutboundStreams: Infinity });
    emit('host', { name, id: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) });
  },

  async connect({ host, to, as }) {
    const node = hostOf(host);
    try {
      const connection = await node.dial(multiaddr(to));
      emit('connected', { host, as, id: connection.remotePeer.toString() });
    } catch (error) {
      emit('failed', { host, as, error: String(error) });
    }
  },

  async dial({ host, to, stream }) {
    const node = hostOf(host);
    await openStream(host, stream, () => node.dial(multiaddr(to)));
  },

  async open({ host, id, stream }) {
    const connection = connectionOf(host, id);
    await openStream(host, stream, async () => connection);
  },

  write({ stream: name, hex }) {
    const entry = streamOf(name);
    const bytes = fromHex(hex);
    entry.written = entry.written
      .then(() => send(entry.stream, bytes))
      .catch((error) => emit('writeError', { stream: name, error: String(error) }));
  },

  async identify({ host, id }) {
    const connection = connectionOf(host, id);
    const signal = AbortSignal.timeout(IDENTIFY_WITHIN_MS);
    const result = await hostOf(host).services.identify.identify(connection, { signal });
    const { agentVersion, protocolVersion, protocols } = result;
    const listenAddresses = result.listenAddrs.map(String);
    emit('identified', { host, id, agentVersion, protocolVersion, protocols, listenAddresses });
  },

  close({ stream }) {
    streamOf(stream).stream.abort(new Error('closed by command'));
  },

  async hangup({ host, id }) {
    const connection = connectionOf(host, id);
    await hostOf(host).hangUp(connection.remotePeer);
  },

  quit() {
    process.exit(0);
  },
};

// Without a key libp2p makes one. The limits are lifted so that only the remote side ever refuses or closes.
function createNode(privateKey, listen) {
  return createLibp2p({
    privateKey,
    addresses: { listen: listen ? ['/ip4/127.0.0.1/tcp/0'] : [] },
    transports: [tcp({ inboundSocketInactivityTimeout: 0, outboundSocketInactivityTimeout: 0 })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify({ maxInboundStreams: Infinity, maxOutboundStreams: Infinity }) },
    connectionManager: {
      maxConnections: Infinity,
      maxIncomingPendingConnections: Infinity,
      inboundConnectionThreshold: Infinity,
    },
    connectionMonitor: { enabled: false },
  });
}

async function openStream(host, name, connect) {
  if (streams.get(name)?.stream.readableEnded === false) throw new Error(`stream ${name} is open`);
  try {
    const connection = await connect();
    addStream(host, name, await connection.newStream(PROTOCOL), connection);
  } catch (error) {
    emit('failed', { host, stream: name, error: String(error) });
  }
}

function addStream(host, name, stream, connection) {
  streams.set(name, { stream, written: Promise.resolve() });
  const inbound = stream.direction === 'inbound';
  emit('open', { host, stream: name, id: connection.remotePeer.toString(), inbound });

  const onEnd = () => {
    const how = ['reset', 'aborted'].includes(stream.status) ? 'reset' : 'end';
    emit('closed', { stream: name, how });
    stream.close().catch((error) => stream.abort(error));
  };
  if (stream.readableEnded) return onEnd();
  stream.addEventListener('end', onEnd);
  stream.addEventListener('message', ({ data }) => {
    emit('data', { stream: name, hex: Buffer.from(data.subarray()).toString('hex') });
  });
}

async function send(stream, bytes) {
  // For a closed stream onDrain may never settle, and send throws.
  if (stream.writeStatus === 'writable') await stream.onDrain();
  stream.send(bytes);
}

function hostOf(name) {
  if (!hosts.has(name)) throw new Error(`no host ${name}`);
  return hosts.get(name);
}

function streamOf(name) {
  if (!streams.has(name)) throw new Error(`no stream ${name}`);
  return streams.get(name);
}

function connectionOf(host, id) {
  const isOpen = ({ status, remotePeer }) => status === 'open' && remotePeer.toString() === id;
  const connection = hostOf(host).getConnections().find(isOpen);
  if (!connection) throw new Error(`host ${host} has no connection with ${id}`);
  return connection;
}

function fromHex(hex) {
  const bytes = Buffer.from(hex, 'hex'); // ends where the digits end
  if (2 * bytes.length !== hex.length) throw new Error('not pairs of hex digits');
  return bytes;
}

function emit(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

async function run(line) {
  let command = line;
  try {
    command = JSON.parse(line);
    if (!Object.hasOwn(commands, command.do)) throw new Error('no such command');
    await commands[command.do](command);
  } catch (error) {
    emit('error', { of: command, error: String(error) });
  }
}

// What goes wrong outside of a command, inside libp2p, must not end the process.
process.on('uncaughtException', (error) => console.error(error));
createInterface({ input: process.stdin }).on('line', run).on('close', commands.quit);
