{{- define "fpj.settings" -}}
{{- if hasKey . "maxConcurrentJobs" }}
- name: FPJ_MAX_CONCURRENT_JOBS
  value: {{ .maxConcurrentJobs | int64 | toString | quote }}
{{- end }}
{{- if hasKey . "leaseSeconds" }}
- name: FPJ_LEASE_SECONDS
  value: {{ .leaseSeconds | toString | quote }}
{{- end }}
{{- if hasKey . "checkSeconds" }}
- name: FPJ_CHECK_SECONDS
  value: {{ .checkSeconds | toString | quote }}
{{- end }}
{{- if hasKey . "childTtlSeconds" }}
- name: FPJ_CHILD_TTL_SECONDS
  value: {{ .childTtlSeconds | int64 | toString | quote }}
{{- end }}
{{- if hasKey . "workerReports" }}
- name: FPJ_WORKER_REPORTS
  value: {{ .workerReports | toString | quote }}
{{- end }}
{{- if hasKey . "reconcilers" }}
- name: FPJ_RECONCILERS
  value: {{ .reconcilers | int64 | toString | quote }}
{{- end }}
{{- if hasKey . "leaderSeconds" }}
- name: FPJ_LEADER_SECONDS
  value: {{ .leaderSeconds | toString | quote }}
{{- end }}
{{- if hasKey . "historyLimit" }}
- name: FPJ_HISTORY_LIMIT
  value: {{ .historyLimit | int64 | toString | quote }}
{{- end }}
{{- if hasKey . "historySeconds" }}
- name: FPJ_HISTORY_SECONDS
  value: {{ .historySeconds | toString | quote }}
{{- end }}
{{- if hasKey . "workerHostUsers" }}
- name: FPJ_WORKER_HOST_USERS
  value: {{ .workerHostUsers | toString | quote }}
{{- end }}
{{- if hasKey . "templateVolumes" }}
- name: FPJ_TEMPLATE_VOLUMES
  value: {{ .templateVolumes | join "," | default "," | toString | quote }}
{{- end }}
{{- if hasKey . "templateMountPaths" }}
- name: FPJ_TEMPLATE_MOUNT_PATHS
  value: {{ .templateMountPaths | join "," | default "," | toString | quote }}
{{- end }}
{{- if hasKey . "templateEnv" }}
- name: FPJ_TEMPLATE_ENV
  value: {{ .templateEnv | join "," | default "," | toString | quote }}
{{- end }}
{{- if hasKey . "templateEnvSources" }}
- name: FPJ_TEMPLATE_ENV_SOURCES
  value: {{ .templateEnvSources | join "," | default "," | toString | quote }}
{{- end }}
{{- if hasKey . "templateServiceAccounts" }}
- name: FPJ_TEMPLATE_SERVICE_ACCOUNTS
  value: {{ .templateServiceAccounts | join "," | default "," | toString | quote }}
{{- end }}
{{- end }}
