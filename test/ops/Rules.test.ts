/** The files that operators watch with are right by their own programs. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { json } from "../../ops/grafana/Dashboard.ts"
import { describeWith, run } from "../support/OpsTools.ts"

const root = join(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")
const alerts = [...read("ops/prometheus/rules.yaml").matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name)

const passes = (tool: "promtool" | "amtool", args: ReadonlyArray<string>) =>
  Effect.map(run(tool, args), ({ code, output }) => assert.strictEqual(code, 0, output))

describeWith("promtool")("the rules of Prometheus", () => {
  it.live("are valid, and so are its settings", () =>
    Effect.andThen(
      passes("promtool", ["check", "rules", join(root, "ops/prometheus/rules.yaml")]),
      passes("promtool", ["check", "config", "--syntax-only", join(root, "ops/prometheus/prometheus.yaml")])
    ))

  it.live("fire where they are to, and nowhere else", () =>
    passes("promtool", ["test", "rules", join(root, "ops/prometheus/rules.test.yaml")]))
})

describeWith("amtool")("the routes of Alertmanager", () => {
  const file = join(root, "ops/alertmanager/alertmanager.yaml")
  it.live("are valid", () => passes("amtool", ["check-config", file]))

  it.live.each([["page", "pager"], ["ticket", "tickets"]] as const)(
    "lead what is a %s to the %s",
    ([severity, receiver]) =>
      Effect.map(
        run("amtool", ["config", "routes", "test", `--config.file=${file}`, `severity=${severity}`]),
        ({ output }) => assert.strictEqual(output.split("\n")[0], receiver)
      )
  )
})

describe("every alert", () => {
  it("is there", () => assert.isAtLeast(alerts.length, 8))

  it.each(alerts)("%s is tested both ways, and the runbook says what to do", (alert) => {
    const checks = read("ops/prometheus/rules.test.yaml").split("      - eval_time:").filter((check) =>
      check.includes(`alertname: ${alert}\n`)
    )
    assert.isTrue(checks.some((check) => check.includes("exp_labels")), "fires")
    assert.isTrue(checks.some((check) => check.includes("exp_alerts: []")), "does not fire")
    assert.include(read("docs/runbook.md"), `\n## ${alert}\n`)
    assert.include(read("ops/prometheus/rules.yaml"), `runbook: docs/runbook.md#${alert.toLowerCase()}\n`)
  })
})

describe("the dashboard", () => {
  it("is what its script builds: `npm run dashboards`", () => {
    assert.strictEqual(read("ops/grafana/dashboards/maas.json"), json())
  })
})
