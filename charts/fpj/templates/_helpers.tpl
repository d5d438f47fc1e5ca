{{- /* What all names begin with: room is left for the longest suffix. */}}
{{- define "fpj.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $name := ternary "operator" "fpj-operator" (contains "fpj" .Release.Name) }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "fpj.selectorLabels" -}}
app.kubernetes.io/name: fpj-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "fpj.labels" -}}
{{- include "fpj.labelsAnd" (dict "root" .) }}
{{- end }}

{{- /* Labels of an object with some `extra` of the values and some of its `own`. Each is there once, and ours wins. */}}
{{- define "fpj.labelsAnd" -}}
{{- $ours := fromYaml (include "fpj.releaseLabels" .root) }}
{{- toYaml (merge $ours (.own | default dict) (.extra | default dict) .root.Values.commonLabels) }}
{{- end }}

{{- define "fpj.releaseLabels" -}}
{{ include "fpj.selectorLabels" . }}
app.kubernetes.io/part-of: fpj
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- /* Annotations of an object that has none of its own; nothing if there are none. */}}
{{- define "fpj.annotations" -}}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "fpj.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "fpj.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "fpj.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* FPJ_STORE, from whichever Secret has it. */}}
{{- define "fpj.storeVariable" -}}
- name: FPJ_STORE
  valueFrom:
    secretKeyRef:
      {{- if .Values.mongodb.existingSecret }}
      name: {{ .Values.mongodb.existingSecret | quote }}
      key: {{ .Values.mongodb.existingSecretKey | quote }}
      {{- else }}
      name: {{ .Values.mongodb.workerSecret | quote }}
      key: url
      {{- end }}
{{- end }}

{{- define "fpj.namespacesVariable" -}}
{{- with .Values.watchNamespaces }}
- name: FPJ_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{- define "fpj.ownNamespaceVariable" -}}
- name: FPJ_OWN_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{- /* Of the pods that the chart runs beside the operator: what the `restricted` level wants. */}}
{{- define "fpj.toolContainer" -}}
image: {{ include "fpj.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
resources:
  requests:
    cpu: 50m
    memory: 96Mi
  limits:
    memory: 256Mi
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- define "fpj.toolPod" -}}
restartPolicy: Never
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
