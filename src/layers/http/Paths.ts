/** Paths that the express lane knows. Whatever else the router would take is the general way's. */

const modelPath = /^\/api\/v1\/models\/([a-z0-9][a-z0-9._-]{0,62})$/

/** The name or id in the path of a model. */
export const modelAt = (path: string): string | undefined => modelPath.exec(path)?.[1]
