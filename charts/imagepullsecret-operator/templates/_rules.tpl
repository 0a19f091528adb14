{{- /* Generated from config/ by `make generate`. DO NOT EDIT. */ -}}

{{- define "imagepullsecret-operator.rules.cluster" -}}
# What people ask for; the answer goes into the status alone.
- apiGroups:
  - images.banzaicloud.io
  resources:
  - imagepullsecrets
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - images.banzaicloud.io
  resources:
  - imagepullsecrets/status
  verbs:
  - patch
# Which namespaces are selected.
- apiGroups:
  - ""
  resources:
  - namespaces
  verbs:
  - list
  - watch
{{- end }}

{{- define "imagepullsecret-operator.rules.targets" -}}
{{- if .Values.podSelectors.enabled }}
# Only for spec.target.namespacesWithPods.
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - list
  - watch
{{- end }}
{{- if .Values.podRecovery.enabled }}
# Only for spec.target.podRecovery: what kubelets tell of Pods that can't pull,
# these Pods and their ServiceAccounts one by one, and their eviction.
- apiGroups:
  - ""
  resources:
  - events
  verbs:
  - list
  - watch
{{- end }}
{{- if .Values.podRecovery.enabled }}
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - get
{{- end }}
{{- if .Values.podRecovery.enabled }}
- apiGroups:
  - ""
  resources:
  - pods/eviction
  verbs:
  - create
{{- end }}
{{- if .Values.podRecovery.enabled }}
- apiGroups:
  - ""
  resources:
  - serviceaccounts
  verbs:
  - get
{{- end }}
{{- if .Values.serviceAccounts.enabled }}
# Only for spec.target.serviceAccounts.
- apiGroups:
  - ""
  resources:
  - serviceaccounts
  verbs:
  - get
  - list
  - watch
  - patch
{{- end }}
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
# Source Secrets are read, target Secrets are kept.
- apiGroups:
  - ""
  resources:
  - secrets
  {{- with .Values.rbac.targetSecretNames }}
  resourceNames:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
{{- end }}

{{- define "imagepullsecret-operator.rules.namespace" -}}
- apiGroups:
  - ""
  resources:
  - secrets
  resourceNames:
  - imagepullsecret-operator-leases-0
  - imagepullsecret-operator-leases-1
  - imagepullsecret-operator-leases-2
  - imagepullsecret-operator-leases-3
  - imagepullsecret-operator-leases-4
  - imagepullsecret-operator-leases-5
  - imagepullsecret-operator-leases-6
  - imagepullsecret-operator-leases-7
  - imagepullsecret-operator-leases-8
  - imagepullsecret-operator-leases-9
  - imagepullsecret-operator-leases-10
  - imagepullsecret-operator-leases-11
  - imagepullsecret-operator-leases-12
  - imagepullsecret-operator-leases-13
  - imagepullsecret-operator-leases-14
  - imagepullsecret-operator-leases-15
  - imagepullsecret-operator-leases-16
  - imagepullsecret-operator-leases-17
  - imagepullsecret-operator-leases-18
  - imagepullsecret-operator-leases-19
  - imagepullsecret-operator-leases-20
  - imagepullsecret-operator-leases-21
  - imagepullsecret-operator-leases-22
  - imagepullsecret-operator-leases-23
  - imagepullsecret-operator-leases-24
  - imagepullsecret-operator-leases-25
  - imagepullsecret-operator-leases-26
  - imagepullsecret-operator-leases-27
  - imagepullsecret-operator-leases-28
  - imagepullsecret-operator-leases-29
  - imagepullsecret-operator-leases-30
  - imagepullsecret-operator-leases-31
  verbs:
  - get
  - create
  - patch
{{- end }}

{{- define "imagepullsecret-operator.rules.leaderElection" -}}
# A create can't be bound to a name: the name is not known when it is judged.
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - create
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  resourceNames:
  - imagepullsecret-operator
  verbs:
  - get
  - update
  - patch
# Who leads is told by an Event, of the API group that client-go uses for it.
- apiGroups:
  - ""
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}

{{- define "imagepullsecret-operator.rules.viewer" -}}
- apiGroups:
  - images.banzaicloud.io
  resources:
  - imagepullsecrets
  verbs:
  - get
  - list
  - watch
{{- end }}

{{- define "imagepullsecret-operator.rules.editor" -}}
- apiGroups:
  - images.banzaicloud.io
  resources:
  - imagepullsecrets
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
  - delete
{{- end }}
