import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import * as PostmasterFile from "../../../src/layers/embedded/PostmasterFile.ts"

const written = "4711\n/data\n1795428176\n54999\n\n127.0.0.1\n  9979080        16\nready   \n"

describe("PostmasterFile", () => {
  it("reads the pid, the port and whether the server is ready", () => {
    const ready = { pid: Option.some(4711), port: Option.some(54_999), ready: true }
    assert.deepStrictEqual(PostmasterFile.parse(written), ready)
    assert.deepStrictEqual(PostmasterFile.parse(written.replace("ready   ", "starting")), { ...ready, ready: false })
  })

  it("reads no part of a number, nor a status, from a file that is still being written", () => {
    for (let length = 0; length < written.indexOf("ready") + "ready".length; length++) {
      assert.deepStrictEqual(PostmasterFile.parse(written.slice(0, length)), {
        pid: length > written.indexOf("\n") ? Option.some(4711) : Option.none(),
        port: length > written.indexOf("54999\n") + 5 ? Option.some(54_999) : Option.none(),
        ready: false
      }, `${length} characters`)
    }
  })

  it("knows no pid that would signal more than one process", () => {
    for (const pid of ["0", "-4711", "", "1e3", "0x1f", " 1", "4711 "]) {
      assert.deepStrictEqual(PostmasterFile.parse(`${pid}\n/data\n`).pid, Option.none(), pid)
    }
  })
})
