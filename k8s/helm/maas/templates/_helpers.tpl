{{- define "maas.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "maas.selector" -}}
app.kubernetes.io/name: maas
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "maas.labels" -}}
{{ include "maas.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "maas.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "maas.secret" -}}
{{ .Values.secret.existing | default (include "maas.name" .) }}
{{- end }}

{{- define "maas.claim" -}}
{{ .Values.storage.existingClaim | default (printf "%s-artifacts" (include "maas.name" .)) }}
{{- end }}

{{- /* A secret as given, as it is kept in the cluster, or made anew. */ -}}
{{- define "maas.secretValue" -}}
{{- $kept := lookup "v1" "Secret" .root.Release.Namespace (include "maas.name" .root) -}}
{{- if .given }}{{ .given }}
{{- else if and $kept (index (default dict $kept.data) .key) }}{{ index $kept.data .key | b64dec }}
{{- else }}{{ printf "%s%s" .prefix (randAlphaNum 40) }}
{{- end }}
{{- end }}

{{- define "maas.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "maas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
