import { HttpApi } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"

const known = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>()
HttpApi.reflect(MaasApi, {
  onGroup: () => {},
  onEndpoint: ({ endpoint }) => {
    const path = endpoint.path.replace(/\/$/, "")
    const entry = known.get(path) ?? {
      pattern: new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/:[A-Za-z]+/g, "[^/]+")}/?$`),
      methods: new Set<string>()
    }
    entry.methods.add(endpoint.method)
    known.set(path, entry)
  }
})

/** The methods that some endpoint takes at this path: what `Allow` says with 405 (RFC 9110, section 15.5.6). */
export const methodsAt = (path: string): ReadonlyArray<string> =>
  Array.from(known.values()).filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => Array.from(methods))
