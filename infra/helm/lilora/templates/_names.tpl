{{- define "lilora.labels" -}}
app.kubernetes.io/name: lilora
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "lilora.selector" -}}
app.kubernetes.io/name: lilora
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* registry/lilora-NAME:tag, or @digest */}}
{{- define "lilora.image" -}}
{{- $image := .root.Values.image -}}
{{- $digest := get $image.digests .name -}}
{{ $image.registry }}/lilora-{{ .name }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "lilora.serviceAccount" -}}
{{ (get .root.Values.serviceAccounts .role).name | default (printf "%s-%s" .root.Release.Name .role) }}
{{- end }}

{{/* A pool with its defaults. */}}
{{- define "lilora.pool" -}}
{{- mergeOverwrite (deepCopy .root.Values.gpu.defaults) .pool | toYaml -}}
{{- end }}

{{/* Where Temporal is. The worker controller sets these itself. */}}
{{- define "lilora.temporalEnv" -}}
{{- $temporal := .Values.temporal -}}
- { name: TEMPORAL_ADDRESS, value: {{ $temporal.address | quote }} }
- { name: TEMPORAL_NAMESPACE, value: {{ $temporal.namespace | quote }} }
{{- if $temporal.apiKey.secret }}
- name: TEMPORAL_API_KEY
  valueFrom: { secretKeyRef: { name: {{ $temporal.apiKey.secret }}, key: {{ $temporal.apiKey.key }} } }
{{- end }}
{{- if or $temporal.tls $temporal.mtlsSecret }}
- { name: TEMPORAL_TLS, value: "true" }
{{- end }}
{{- with $temporal.tlsServerName }}
- { name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }} }
{{- end }}
{{- if $temporal.mtlsSecret }}
- { name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: /etc/temporal/tls/tls.crt }
- { name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: /etc/temporal/tls/tls.key }
{{- end }}
{{- end }}

{{/* Where the store is, and how the process behaves. */}}
{{- define "lilora.storeEnv" -}}
- { name: LILORA_STORE, value: {{ .Values.store.uri | quote }} }
- { name: LILORA_LOG_LEVEL, value: {{ .Values.logLevel }} }
{{- if .Values.metrics.enabled }}
- { name: LILORA_METRICS, value: "0.0.0.0:{{ .Values.metrics.port }}" }
{{- end }}
{{- with .Values.store.region }}
- { name: AWS_REGION, value: {{ . | quote }} }
{{- end }}
{{- with .Values.store.endpoint }}
- { name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }} }
{{- end }}
{{- end }}

{{- define "lilora.storeSecret" -}}
{{- with .Values.store.credentialsSecret }}
- secretRef: { name: {{ . }} }
{{- end }}
{{- end }}

{{- define "lilora.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "lilora.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* The process touches a file while its event loop turns. Nothing here asks Temporal: no restart would mend that. */}}
{{- define "lilora.workerProbes" -}}
startupProbe:
  exec: { command: [/bin/sh, -c, "test -e /tmp/lilora-alive"] }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  exec: { command: [/bin/sh, -c, 'test -n "$(find /tmp/lilora-alive -mmin -1)"'] }
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "lilora.metricsPort" -}}
{{- if .Values.metrics.enabled }}
ports:
  - { name: metrics, containerPort: {{ .Values.metrics.port }} }
{{- end }}
{{- end }}

{{- define "lilora.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "lilora.tlsMount" -}}
{{- if .Values.temporal.mtlsSecret }}
- { name: temporal-tls, mountPath: /etc/temporal/tls, readOnly: true }
{{- end }}
{{- end }}

{{- define "lilora.tlsVolume" -}}
{{- with .Values.temporal.mtlsSecret }}
- { name: temporal-tls, secret: { secretName: {{ . }}, defaultMode: 0440 } }
{{- end }}
{{- end }}

{{- define "lilora.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
