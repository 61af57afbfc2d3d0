/** The server's one role: owner of all, since nobody else has the password. */
export const role = "maas"

/** The database that `initdb` makes for the role to connect to. */
export const database = "postgres"

/**
 * The arguments of `initdb`. The collation is PostgreSQL's own C.UTF-8 (since 17), not the C library's: it is there on
 * every machine and sorts the same on each, whatever locales and versions of libc and ICU they have.
 */
export const forInitdb = (
  options: { readonly data: string; readonly passwordFile: string }
): ReadonlyArray<string> => [
  `--pgdata=${options.data}`,
  `--username=${role}`,
  `--pwfile=${options.passwordFile}`,
  "--auth-host=scram-sha-256",
  "--auth-local=reject",
  "--encoding=UTF8",
  "--locale=C",
  "--locale-provider=builtin",
  "--builtin-locale=C.UTF-8",
  "--data-checksums"
]

/**
 * The arguments of `postgres`. The settings are given anew at each start, and win over those in the data folder, so a
 * folder made by an earlier version of this program gets the present ones.
 */
export const forPostgres = (
  options: { readonly data: string; readonly port: number; readonly id: string }
): ReadonlyArray<string> => [
  "-D",
  options.data,
  ...Object.entries({
    // In the title of every process of this server: see OrphanedServer.
    cluster_name: clusterName(options.id),
    port: options.port,
    listen_addresses: "127.0.0.1",
    // No Unix socket: its path may be at most some 100 characters long, which a data folder's may exceed.
    unix_socket_directories: "",
    max_connections: 100,
    // What is committed stays, as on any production server.
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    // A small footprint: a laptop's database, with no replica, and no helper processes for input and output.
    shared_buffers: "64MB",
    max_wal_size: "256MB",
    max_logical_replication_workers: 0,
    io_method: "sync",
    jit: "off",
    timezone: "UTC",
    log_timezone: "UTC",
    // The start is judged by what the server says, which must therefore be English.
    lc_messages: "C",
    log_checkpoints: "off",
    log_line_prefix: "%m [%p] "
  }).flatMap(([name, value]) => ["-c", `${name}=${value}`])
]

/** The name of the server with this id; at most 63 characters, PostgreSQL's limit. */
export const clusterName = (id: string): string => `maas-${id}`
