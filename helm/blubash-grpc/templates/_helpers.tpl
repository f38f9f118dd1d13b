{{- define "blubash-grpc.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 50 characters: what the cluster adds must fit into 63. */}}
{{- define "blubash-grpc.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "blubash-grpc.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "blubash-grpc.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "blubash-grpc.selector" -}}
app.kubernetes.io/name: {{ include "blubash-grpc.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "blubash-grpc.labels" -}}
{{ include "blubash-grpc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "blubash-grpc.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What the drain takes at most: its parts, 2 s for last words, 30 s for a write that was just sent, and room
to close the ledger. */}}
{{- define "blubash-grpc.grace" -}}
{{- with .Values.drain -}}
{{- add .preStopSeconds .delaySeconds .timeoutSeconds 40 -}}
{{- end -}}
{{- end -}}

{{/* The pod and its container as `restricted` pod security asks. */}}
{{- define "blubash-grpc.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAs.user }}
runAsUser: {{ int64 . }}
{{- end }}
{{- with .Values.runAs.group }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
# Only a new volume is changed: in one that holds a secret already, its mode would be opened to the group.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "blubash-grpc.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* How the kubelet asks: its gRPC probes know no TLS, so that with it the admin port is asked. */}}
{{- define "blubash-grpc.probe" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.tls.existingSecret -}}
httpGet:
  port: {{ $root.Values.admin.port }}
  path: {{ index . 1 }}
{{- else -}}
grpc:
  port: {{ $root.Values.grpc.port }}
{{- end -}}
{{- end -}}
