{{- /* What all names begin with: room is left for the longest suffix. */}}
{{- define "fpj.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $name := ternary "operator" "fpj-operator" (contains "fpj" .Release.Name) }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* The same for the API, whose suffixes are longer. checks.yaml sees to it that the two are not the same. */}}
{{- define "fpj.apiFullname" -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-fpj" .Release.Name) (contains "fpj" .Release.Name)) }}
{{- printf "%s-api" ($name | trunc 48 | trimSuffix "-") }}
{{- end }}

{{- /* What the release runs for good, as a JSON list: `values` says where among the values each has its own. */}}
{{- define "fpj.components" -}}
{{- $operator := dict "name" "fpj-operator" "fullname" (include "fpj.fullname" .) "account" (include "fpj.serviceAccount" .) }}
{{- $api := dict "name" "fpj-api" "fullname" (include "fpj.apiFullname" .) "account" (include "fpj.apiServiceAccount" .) "values" "api" }}
{{- toJson (ternary (list $operator $api) (list $operator) .Values.api.enabled) }}
{{- end }}

{{- define "fpj.selectorLabels" -}}
{{- include "fpj.selectorLabelsOf" (dict "root" . "name" "fpj-operator") }}
{{- end }}

{{- define "fpj.selectorLabelsOf" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{- define "fpj.labels" -}}
{{- include "fpj.labelsAnd" (dict "root" .) }}
{{- end }}

{{- /*
Labels of an object with some `extra` of the values and some of its `own`; its `name` if it is not the operator's. Each
is there once, and ours wins.
*/}}
{{- define "fpj.labelsAnd" -}}
{{- $selected := fromYaml (include "fpj.selectorLabelsOf" (dict "root" .root "name" (.name | default "fpj-operator"))) }}
{{- $ours := fromYaml (include "fpj.releaseLabels" .root) }}
{{- toYaml (merge $selected $ours (.own | default dict) (.extra | default dict) (.root.Values.commonLabels | default dict)) }}
{{- end }}

{{- define "fpj.releaseLabels" -}}
app.kubernetes.io/part-of: fpj
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- /* The same of annotations; nothing if there are none. Hooks would not be hooks if a common annotation won. */}}
{{- define "fpj.annotationsAnd" -}}
{{- with merge (dict) (.own | default dict) (.extra | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "fpj.annotations" -}}
{{- include "fpj.annotationsAnd" (dict "root" .) }}
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

{{- define "fpj.apiServiceAccount" -}}
{{- .Values.api.serviceAccount.name | default (ternary (include "fpj.apiFullname" .) "default" .Values.api.serviceAccount.create) }}
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
{{ include "fpj.podSecurity" (dict "root" . "values" .Values) }}
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
