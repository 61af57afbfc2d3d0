import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { OpenApi } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

const code = (value: unknown): string => `<pre>${escape(JSON.stringify(value, undefined, 2))}</pre>`

const parameterRows = ({ parameters }: OpenApi.OpenAPISpecOperation): string =>
  parameters.length === 0
    ? ""
    : `<table><tr><th>Parameter</th><th>In</th><th>Form</th></tr>${
      parameters.map((parameter) =>
        `<tr><td><code>${escape(parameter.name)}</code>${
          parameter.required ? " *" : ""
        }</td><td>${parameter.in}</td><td>${code(parameter.schema)}</td></tr>`
      ).join("")
    }</table>`

const operation = (method: string, path: string, spec: OpenApi.OpenAPISpecOperation): string =>
  `<details><summary><b class="${method}">${method.toUpperCase()}</b> <code>${escape(path)}</code></summary>
  ${spec.description === undefined ? "" : `<p>${escape(spec.description)}</p>`}
  ${parameterRows(spec)}
  ${spec.requestBody === undefined ? "" : `<h4>Body</h4>${code(spec.requestBody.content)}`}
  <h4>Answers</h4><p>${Object.keys(spec.responses).join(", ")}</p></details>`

const style = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  details { border: 1px solid #ddd; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem }
  summary { cursor: pointer } b { display: inline-block; width: 4.5rem } .get { color: #06c } .post { color: #080 }
  .put, .patch { color: #a60 } .delete { color: #b00 } table { border-collapse: collapse; width: 100% }
  td, th { text-align: left; vertical-align: top; border-top: 1px solid #eee; padding: .2rem .4rem }
  pre { margin: 0; font-size: 13px; overflow: auto; max-height: 24rem }`

/** The API's description as a page for people: no scripts, nothing loaded from elsewhere. */
const render = (): string => {
  const { info, paths } = OpenApi.fromApi(MaasApi)
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    (["get", "post", "put", "patch", "delete"] as const).flatMap((method) => {
      const spec = item[method]
      return spec === undefined ? [] : [{ group: spec.tags[0] ?? "", html: operation(method, path, spec) }]
    })
  )
  const groups = Map.groupBy(operations, ({ group }) => group)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${
    escape(info.title)
  }</title><style>${style}</style>
    <h1>${escape(info.title)}</h1><p>${escape(info.description ?? "")}</p>
    <p>Send a key as <code>Authorization: Bearer maas_…</code> or <code>X-API-Key: maas_…</code>. The same as
    <a href="/openapi.json">OpenAPI</a>.</p>
    ${
    Array.from(groups).map(([group, all]) => `<h2>${escape(group)}</h2>${all.map(({ html }) => html).join("")}`).join(
      ""
    )
  }</html>`
}

export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter> = HttpRouter.add(
  "GET",
  "/docs",
  Effect.sync(() =>
    HttpServerResponse.text(render(), {
      contentType: "text/html; charset=utf-8",
      headers: { "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'" }
    })
  )
)
