{{- /*
Pods that run for good, the operator's and the API's: of `component` (see fpj.components), with its `values`. It ends
within the pod's spec, so that `containers` can follow.
*/}}
{{- define "fpj.deployment" -}}
metadata:
  name: {{ .component.fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "fpj.labelsAnd" (dict "root" .root "name" .component.name) | nindent 4 }}
  {{- include "fpj.annotationsAnd" (dict "root" .root "extra" .values.deploymentAnnotations) | nindent 2 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels:
      {{- include "fpj.selectorLabelsOf" (dict "root" .root "name" .component.name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $component := dict "app.kubernetes.io/component" (trimPrefix "fpj-" .component.name) }}
        {{- include "fpj.labelsAnd" (dict "root" .root "name" .component.name "own" $component "extra" .values.podLabels) | nindent 8 }}
      {{- $checksum := dict "fpj.dev/store-checksum" (sha256sum .root.Values.mongodb.uri) }}
      {{- $own := ternary $checksum (dict) (empty .root.Values.mongodb.existingSecret) }}
      {{- include "fpj.annotationsAnd" (dict "root" .root "own" $own "extra" .values.podAnnotations) | nindent 6 }}
    spec:
      serviceAccountName: {{ .component.account }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
      {{- include "fpj.podSecurity" . | nindent 6 }}
      {{- include "fpj.placement" . | nindent 6 }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with .values.volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}

{{- /* Of pods with their `values`: what these say of user and group comes first. */}}
{{- define "fpj.podSecurity" -}}
{{- $user := int64 .root.Values.user }}
{{- $ids := ternary (dict "runAsUser" $user "runAsGroup" $user) (dict) (ne $user 0) -}}
securityContext:
  {{- toYaml (merge (dict) (.values.podSecurityContext | default dict) $ids) | nindent 2 }}
{{- if not .values.hostUsers }}
hostUsers: false
{{- end }}
{{- end }}

{{- define "fpj.placement" -}}
{{- with .values.imagePullSecrets | default .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fpj.selectorLabelsOf" (dict "root" $.root "name" $.component.name) | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}

{{- /* Of their container, all but its name, command, variables and ports. */}}
{{- define "fpj.container" -}}
image: {{ include "fpj.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
readinessProbe:
  httpGet:
    path: {{ .ready }}
    port: {{ .port }}
  {{- toYaml .values.readinessProbe | nindent 2 }}
livenessProbe:
  httpGet:
    path: {{ .live }}
    port: {{ .port }}
  {{- toYaml .values.livenessProbe | nindent 2 }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .values.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
