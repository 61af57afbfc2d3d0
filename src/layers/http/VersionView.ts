import type { VersionView } from "../../api/Views.ts"
import type { VersionRecord } from "../../services/ModelRepository.ts"

export const toVersionView = ({ model, version, state, createdAt, updatedAt }: VersionRecord): VersionView => ({
  model,
  version,
  status: state.status,
  artifact: "artifact" in state ? state.artifact : null,
  signature: "signature" in state ? state.signature : null,
  error: "failure" in state ? state.failure : null,
  createdAt,
  updatedAt
})
