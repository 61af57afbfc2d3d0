/** `npm run dashboards`: writes the dashboards that Grafana is provisioned with. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { json } from "./Dashboard.ts"

writeFileSync(join(import.meta.dirname, "dashboards/maas.json"), json())
