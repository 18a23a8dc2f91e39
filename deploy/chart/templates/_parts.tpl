{{/* Templates that several manifests share. */}}

{{- define "orchestration.name" -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* This template and the following ones are called with (list $ "api") or (list $ "worker"). */}}
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

{{/* Pod settings: no privileges, no service account token, no writable disk. */}}
{{- define "orchestration.pod" -}}
{{- $root := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- if or $root.Values.tls.configMap $root.Values.tls.secret }}
volumes:
  - name: tls
    {{- with $root.Values.tls.configMap }}
    configMap: {name: {{ . }}}
    {{- end }}
    {{- with $root.Values.tls.secret }}
    secret: {secretName: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{- define "orchestration.container" -}}
{{- $root := index . 0 -}}
image: {{ include "orchestration.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- if or $root.Values.tls.configMap $root.Values.tls.secret }}
volumeMounts:
  - {name: tls, mountPath: /etc/orchestration/tls, readOnly: true}
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
{{- end }}

{{/* Probes, which are the same for API and worker. A first start may have to wait for Kafka. */}}
{{- define "orchestration.probes" -}}
startupProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
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
