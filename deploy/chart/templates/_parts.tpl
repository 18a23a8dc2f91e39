{{/* Templates that several manifests share. */}}

{{- define "orchestration.name" -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* This template and the following ones are called with (list $ "api") or another component. */}}
{{- define "orchestration.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "orchestration.labels" -}}
{{- $root := index . 0 -}}
{{ include "orchestration.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "orchestration.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The address on which a pod listens on this port. */}}
{{- define "orchestration.listen" -}}
{{- $root := index . 0 -}}
{{ printf "%s:%d" (ternary "[::]" "0.0.0.0" $root.Values.ipv6) (index . 1) }}
{{- end }}

{{/* Fails if the pools of all pods need more connections than PostgreSQL has: those of all replicas, and of one more of
each during an update. An API has four connections besides its pool. */}}
{{- define "orchestration.checkConnections" -}}
{{- $api := merge dict .Values.api.settings .Values.settings -}}
{{- $worker := merge dict .Values.worker.settings .Values.settings -}}
{{- $apis := .Values.api.replicas | int -}}
{{- if .Values.api.autoscaling.enabled }}{{ $apis = max $apis .Values.api.autoscaling.maxReplicas | int }}{{ end -}}
{{- $perApi := add 4 ($api.ORCHESTRATION_DATABASE_CONNECTIONS | default "16" | int) -}}
{{- $perWorker := add ($worker.ORCHESTRATION_DATABASE_CONNECTIONS | default "16" | int) ($worker.ORCHESTRATION_CONTROL_CONNECTIONS | default "6" | int) -}}
{{- $needed := add (mul $perApi (add1 $apis)) (mul $perWorker (add1 .Values.worker.replicas)) -}}
{{- if gt ($needed | int) (.Values.database.maxConnections | int) }}
{{- fail (printf "%d API pods with %d connections to PostgreSQL each and %d workers with %d, and one more of each during an update, need %d connections, but database.maxConnections is %d: lower the replicas or ORCHESTRATION_DATABASE_CONNECTIONS, or raise max_connections of PostgreSQL" $apis $perApi (.Values.worker.replicas | int) $perWorker $needed (.Values.database.maxConnections | int)) }}
{{- end }}
{{- end }}

{{/* Pod settings: no privileges, no service account token, no writable disk. */}}
{{- define "orchestration.pod" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) | default dict -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- if or $root.Values.tls.configMap $root.Values.tls.secret $values.extraVolumes }}
volumes:
  {{- if or $root.Values.tls.configMap $root.Values.tls.secret }}
  - name: tls
    {{- with $root.Values.tls.configMap }}
    configMap: {name: {{ . }}}
    {{- end }}
    {{- with $root.Values.tls.secret }}
    secret: {secretName: {{ . }}}
    {{- end }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "orchestration.container" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) | default dict -}}
image: {{ include "orchestration.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- if or $root.Values.tls.configMap $root.Values.tls.secret $values.extraVolumeMounts }}
volumeMounts:
  {{- if or $root.Values.tls.configMap $root.Values.tls.secret }}
  - {name: tls, mountPath: /etc/orchestration/tls, readOnly: true}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The environment variables of API or worker, with references to its secrets. */}}
{{- define "orchestration.environment" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $secret := index $root.Values.secrets $part -}}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: DATABASE_URL}}
- name: ORCHESTRATION_SEALING_KEYS
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: ORCHESTRATION_SEALING_KEYS}}
- name: ORCHESTRATION_KAFKA_OPTIONS
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: ORCHESTRATION_KAFKA_OPTIONS, optional: true}}
{{- range $name, $value := merge dict (index $root.Values $part "settings") $root.Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with index $root.Values $part "extraEnv" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Probes, which are the same for API and worker. A first start may have to wait for Kafka. */}}
{{- define "orchestration.probes" -}}
startupProbe:
  httpGet: {path: /health, port: metrics}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /health, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{/* A service without an address, which Prometheus finds the pods by. */}}
{{- define "orchestration.metricsService" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ printf "%s-%s-metrics" (include "orchestration.name" $root) (index . 1) }}
  labels: {{- include "orchestration.labels" . | nindent 4 }}
spec:
  clusterIP: None
  {{- if $root.Values.ipv6 }}
  ipFamilyPolicy: PreferDualStack
  {{- end }}
  # A pod that does not start is scraped in vain, so that an alert says so.
  publishNotReadyAddresses: true
  selector: {{- include "orchestration.selector" . | nindent 4 }}
  ports:
    - {name: metrics, port: 9464, targetPort: metrics}
{{- end }}

{{/* Scheduling: replicas are spread over nodes; the values may set constraints. */}}
{{- define "orchestration.placement" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "orchestration.selector" . | nindent 8 }}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
