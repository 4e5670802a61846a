{{/* Labels of a pool's pods. */}}
{{- define "lilora.poolNames" -}}
{{- dict "component" (printf "gpu-%s" .pool.name) | toYaml -}}
{{- end }}

{{/* metadata and spec of a gpu worker's pod. Input: root, pool (with defaults), restartPolicy. */}}
{{- define "lilora.gpuPod" -}}
{{- $root := .root }}
{{- $names := dict "root" .root "component" (printf "gpu-%s" .pool.name) }}
{{- with .pool }}
metadata:
  labels:
    {{- include "lilora.labels" $names | nindent 4 }}
  {{- if or .protectFromEviction $root.Values.podAnnotations }}
  annotations:
    {{- if .protectFromEviction }}
    # Autoscalers of nodes look for other nodes to empty.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    karpenter.sh/do-not-disrupt: "true"
    {{- end }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  serviceAccountName: {{ include "lilora.serviceAccount" (dict "root" $root "role" "gpu") }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if ne $.restartPolicy "Always" }}
  restartPolicy: {{ $.restartPolicy }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .terminationGracePeriodSeconds }}
  securityContext:
    {{- include "lilora.podSecurity" $root | nindent 4 }}
  {{- include "lilora.pullSecrets" $root | nindent 2 }}
  {{- include "lilora.placement" . | nindent 2 }}
  {{- with .runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  containers:
    - name: gpu
      image: {{ include "lilora.image" (dict "root" $root "name" .image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - worker
        - gpu
        - --queue={{ .queue }}
        {{- if eq .mode "jobs" }}
        - --idle-exit={{ .idleExitSeconds }}
        {{- end }}
        {{- if and .deployment (ne .mode "controller") }}
        - --deployment={{ .deployment }}
        - --build-id={{ .buildId }}
        {{- end }}
      env:
        {{- if ne .mode "controller" }}
        {{- include "lilora.temporalEnv" $root | nindent 8 }}
        {{- end }}
        {{- include "lilora.storeEnv" $root | nindent 8 }}
        {{- if .threads }}
        - { name: LILORA_THREADS, value: {{ .threads | quote }} }
        {{- end }}
      {{- if $root.Values.store.credentialsSecret }}
      envFrom:
        {{- include "lilora.storeSecret" $root | nindent 8 }}
      {{- end }}
      {{- include "lilora.metricsPort" $root | nindent 6 }}
      {{- include "lilora.workerProbes" $root | nindent 6 }}
      resources:
        {{- range $kind, $amounts := .resources }}
        {{ $kind }}:
          {{- range $name, $amount := $amounts }}
          {{- if not (kindIs "invalid" $amount) }}
          {{ $name }}: {{ $amount | quote }}
          {{- end }}
          {{- end }}
        {{- end }}
      securityContext:
        {{- include "lilora.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        - { name: cache, mountPath: /cache }
        {{- if ne .mode "controller" }}
        {{- include "lilora.tlsMount" $root | nindent 8 }}
        {{- end }}
  volumes:
    - { name: tmp, emptyDir: { sizeLimit: 20Gi } }
    {{- if .cacheClaim }}
    - { name: cache, persistentVolumeClaim: { claimName: {{ .cacheClaim }} } }
    {{- else }}
    - { name: cache, emptyDir: { sizeLimit: {{ .cacheSize }} } }
    {{- end }}
    {{- if ne .mode "controller" }}
    {{- include "lilora.tlsVolume" $root | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{/* KEDA's Temporal trigger of a pool. Input: root, pool, and where the version's name comes from. */}}
{{- define "lilora.trigger" -}}
- type: temporal
  metadata:
    endpoint: {{ .root.Values.temporal.address | quote }}
    namespace: {{ .root.Values.temporal.namespace | quote }}
    taskQueue: {{ .pool.queue | quote }}
    queueTypes: activity
    # One task per worker: a GPU does one at a time.
    targetQueueSize: "1"
    activationTargetQueueSize: "0"
    {{- with .root.Values.temporal.tlsServerName }}
    tlsServerName: {{ . | quote }}
    {{- end }}
    {{- if .pool.runningWorkflowQueue }}
    includeRunningWorkflowCount: "true"
    workflowTaskQueueForCount: {{ .pool.runningWorkflowQueue | quote }}
    {{- end }}
    {{- if .deployment }}
    workerDeploymentName: {{ .deployment | quote }}
    workerDeploymentBuildId: {{ .buildId | quote }}
    {{- end }}
  {{- if or .root.Values.temporal.apiKey.secret .root.Values.temporal.mtlsSecret }}
  authenticationRef: { name: {{ .root.Release.Name }}-temporal }
  {{- end }}
{{- end }}

{{/* Above one worker the HPA scales in: one at a time, and not before the cooldown. */}}
{{- define "lilora.scaleDown" -}}
horizontalPodAutoscalerConfig:
  behavior:
    scaleDown:
      stabilizationWindowSeconds: {{ min 3600 (int .cooldownSeconds) }}
      policies: [{ type: Pods, value: 1, periodSeconds: 60 }]
    scaleUp:
      stabilizationWindowSeconds: 0
{{- end }}
