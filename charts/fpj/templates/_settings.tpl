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
{{- end }}
