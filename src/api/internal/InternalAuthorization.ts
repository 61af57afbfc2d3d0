import { Schema } from "effect"
import { HttpApiMiddleware, HttpApiSchema, HttpApiSecurity } from "effect/http-api"

/** The call does not carry the secret that the roles of this platform share. */
export class NotOneOfUs extends Schema.TaggedError<NotOneOfUs>()("NotOneOfUs", {}) {
  override get message() {
    return "This address is for the platform's own roles: they share MAAS_INTERNAL_SECRET"
  }
}

/**
 * Lets through the platform's own roles.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class InternalAuthorization extends HttpApiMiddleware.Service<InternalAuthorization>()(
  "maas/api/internal/InternalAuthorization",
  { security: { secret: HttpApiSecurity.bearer }, error: NotOneOfUs.pipe(HttpApiSchema.status(401)) }
) {}
