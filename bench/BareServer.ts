/** What to compare with: a bare node:http server that parses the same JSON and gives the same answer. */
import { createServer } from "node:http"

const answer = {
  model_name: "iris-logreg",
  model_version: "1",
  outputs: [
    { name: "label", datatype: "INT64", shape: [1], data: [0] },
    {
      name: "probabilities",
      datatype: "FP32",
      shape: [1, 3],
      data: [0.9847031831741333, 0.015296769328415394, 6.203769942203508e-8]
    }
  ]
}

const server = createServer((request, response) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    JSON.parse(Buffer.concat(chunks).toString())
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify(answer))
  })
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.stdout.write(`Listening on http://127.0.0.1:${typeof address === "object" ? address?.port : ""}\n`)
})
