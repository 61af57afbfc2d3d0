/** The dashboard as Grafana reads it, built with Grafana's own SDK. */
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard"
import * as logs from "@grafana/grafana-foundation-sdk/logs"
import * as loki from "@grafana/grafana-foundation-sdk/loki"
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus"
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries"
import { rows } from "./Panels.ts"
import type { Panel } from "./Panels.ts"

/** As ops/grafana/provisioning/datasources names them. */
const metrics = { type: "prometheus", uid: "prometheus" }
const lines = { type: "loki", uid: "loki" }

const panelOf = ({ description, queries, title, unit }: Panel, id: number) =>
  queries.reduce(
    (panel, { expr, legend }, index) =>
      panel.withTarget(
        new prometheus.DataqueryBuilder().datasource(metrics).expr(expr).legendFormat(legend).refId(
          String.fromCharCode(65 + index)
        )
      ),
    new timeseries.PanelBuilder().id(id).title(title).description(description).datasource(metrics).unit(unit).min(0)
      .span(12)
      .height(8)
  )

const role = new dashboard.QueryVariableBuilder("role")
  .label("Role")
  .datasource(metrics)
  .query("label_values(up{job=\"maas\"}, role)")
  .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
  .multi(true)
  .includeAll(true)
  .allValue(".*")

/** The dashboard's JSON, indented. */
export const json = (): string => {
  let whole = new dashboard.DashboardBuilder("MaaS")
    .uid("maas")
    .tags(["maas"])
    .time({ from: "now-30m", to: "now" })
    .refresh("10s")
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(role)
  let id = 1
  for (const { panels, title } of rows) {
    whole = whole.withRow(new dashboard.RowBuilder(title).id(id++))
    for (const panel of panels) whole = whole.withPanel(panelOf(panel, id++))
  }
  whole = whole.withRow(new dashboard.RowBuilder("Logs").id(id++)).withPanel(
    new logs.PanelBuilder().id(id).title("Logs").description("What the processes say").datasource(lines).span(24)
      .height(10)
      .withTarget(new loki.DataqueryBuilder().datasource(lines).expr("{service_name=~\"maas.*\"}").refId("A"))
  )
  return `${JSON.stringify(whole.build(), null, 2)}\n`
}
