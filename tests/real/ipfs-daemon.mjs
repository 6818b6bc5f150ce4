// An IPFS daemon with Kubo's RPC, for tests where no Kubo is installed. Offline, on loopback.
// Usage: node ipfs-daemon.mjs REPO API_PORT GATEWAY_PORT, beside the node_modules folder.
if (!Promise.withResolvers) {
  Promise.withResolvers = () => {
    const parts = {}
    parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
    return parts
  }
}
const { create } = await import('ipfs-core')
const { HttpApi } = await import('ipfs-http-server')
const [repo, api, gateway] = process.argv.slice(2)
const ipfs = await create({
  repo,
  offline: true,
  silent: true,
  init: { emptyRepo: true, algorithm: 'Ed25519' },
  config: {
    Addresses: {
      API: `/ip4/127.0.0.1/tcp/${api}`,
      Gateway: `/ip4/127.0.0.1/tcp/${gateway}`,
      Swarm: []
    },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false } }
  }
})
const server = new HttpApi(ipfs)
await server.start()
process.on('SIGTERM', async () => {
  await server.stop()
  await ipfs.stop()
  process.exit(0)
})
