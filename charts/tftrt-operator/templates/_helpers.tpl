{{- define "tftrt-operator.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "tftrt-operator.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tftrt-operator.selector" -}}
app.kubernetes.io/name: tftrt-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
