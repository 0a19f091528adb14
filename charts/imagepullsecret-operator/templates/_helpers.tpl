{{- define "imagepullsecret-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "imagepullsecret-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "imagepullsecret-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "imagepullsecret-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "imagepullsecret-operator.labels" -}}
{{ include "imagepullsecret-operator.labelsAnd" (list . dict) }}
{{- end }}

{{- /* The same of [root, more]: with more labels, each key once. */ -}}
{{- define "imagepullsecret-operator.labelsAnd" -}}
{{- $root := index . 0 }}
{{- $own := fromYaml (include "imagepullsecret-operator.selectorLabels" $root) }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- toYaml (merge $own (index . 1) $root.Values.commonLabels) }}
{{- end }}

{{- /* The name label of Pods that are there for a moment: neither the Service nor the Deployment selects them. */ -}}
{{- define "imagepullsecret-operator.hookName" -}}
{{- printf "%s-hook" (include "imagepullsecret-operator.name" . | trunc 58 | trimSuffix "-") }}
{{- end }}

{{- /*
The labels and the spec of such a Pod, which runs the operator's image once:
{root, account, command: a subcommand and its arguments}.
*/ -}}
{{- define "imagepullsecret-operator.hookLabels" -}}
{{- $own := dict "app.kubernetes.io/name" (include "imagepullsecret-operator.hookName" .) "app.kubernetes.io/instance" .Release.Name }}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{- define "imagepullsecret-operator.hookPod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .account }}
restartPolicy: Never
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
containers:
- name: {{ first .command }}
  image: {{ include "imagepullsecret-operator.image" .root | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  command:
  - /imagepullsecret-operator
  args:
  {{- toYaml .command | nindent 2 }}
  {{- with $values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "imagepullsecret-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "imagepullsecret-operator.fullname" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The ServiceAccount that Chainguard's identities trust. */ -}}
{{- define "imagepullsecret-operator.chainguardAccount" -}}
{{- $account := .Values.annotatedSecrets.serviceAccount }}
{{- printf "%s/%s" (default .Release.Namespace $account.namespace) (default (include "imagepullsecret-operator.fullname" .) $account.name) }}
{{- end }}

{{- /* A values file of IMPS's names IMPS's image, which knows none of our flags. */ -}}
{{- define "imagepullsecret-operator.imageOfIMPS" -}}
{{- if hasPrefix "ghcr.io/banzaicloud/imagepullsecrets" .Values.image.repository }}true{{ end }}
{{- end }}

{{- define "imagepullsecret-operator.image" -}}
{{- $ownTag := printf "v%s" .Chart.AppVersion }}
{{- if include "imagepullsecret-operator.imageOfIMPS" . }}
{{- printf "ghcr.io/imagepullsecrets/operator:%s" $ownTag }}
{{- else if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default $ownTag .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* What no schema can say of rbac. */ -}}
{{- define "imagepullsecret-operator.checkRBAC" -}}
{{- $rbac := .Values.rbac }}
{{- if and (eq $rbac.mode "named") (not $rbac.targetSecretNames) }}
{{- fail "rbac.mode is named, so rbac.targetSecretNames must list every Secret name that the operator is to keep (each spec.target.secret.name in use)" }}
{{- end }}
{{- if and (eq $rbac.mode "cluster") (or $rbac.targetSecretNames $rbac.sources) }}
{{- fail "rbac.targetSecretNames and rbac.sources mean something in rbac.mode named or namespaces only: set rbac.mode to named, or remove them" }}
{{- end }}
{{- if and .Values.defaultConfig.enabled $rbac.targetSecretNames (not (has .Values.defaultConfig.targetSecretName $rbac.targetSecretNames)) }}
{{- fail (printf "rbac.mode is %s, so rbac.targetSecretNames must contain defaultConfig.targetSecretName, which is %q" $rbac.mode .Values.defaultConfig.targetSecretName) }}
{{- end }}
{{- if and (eq $rbac.mode "namespaces") (not $rbac.namespaces) }}
{{- fail "rbac.mode is namespaces, so rbac.namespaces must list every namespace where the operator is to keep Secrets" }}
{{- end }}
{{- if and (ne $rbac.mode "namespaces") $rbac.namespaces }}
{{- fail "rbac.namespaces means something in rbac.mode namespaces only: set rbac.mode to namespaces, or remove it" }}
{{- end }}
{{- range .Values.annotatedServiceAccounts.namespaces }}
{{- if and $rbac.namespaces (not (has . $rbac.namespaces)) }}
{{- fail (printf "annotatedServiceAccounts.namespaces holds %s, where the operator has no rights: rbac.mode is namespaces, so add it to rbac.namespaces, or remove it" .) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What no schema can say. */ -}}
{{- define "imagepullsecret-operator.check" -}}
{{- include "imagepullsecret-operator.checkRBAC" . }}
{{- $seen := list }}
{{- range .Values.identities }}
{{- $identity := printf "%s/%s" .namespace .name }}
{{- if has $identity $seen }}
{{- fail (printf "identities lists %s twice" $identity) }}
{{- end }}
{{- $seen = append $seen $identity }}
{{- if and .annotations (not .create) }}
{{- fail (printf "identities: %s has annotations, which need create: true; annotate a ServiceAccount that exists where it comes from" $identity) }}
{{- end }}
{{- end }}
{{- if and .Values.annotatedServiceAccounts.enabled (not .Values.serviceAccounts.enabled) }}
{{- fail "annotatedServiceAccounts.enabled needs serviceAccounts.enabled: what they ask for is attached to them" }}
{{- end }}
{{- if and .Values.defaultSecret.enabled (not .Values.defaultSecret.type) }}
{{- fail "defaultSecret.enabled needs defaultSecret.type: kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg or banzaicloud.io/aws-ecr-login-config" }}
{{- end }}
{{- end }}

{{- /* Whether the cluster knows the kind ImagePullSecret while this is rendered. */ -}}
{{- define "imagepullsecret-operator.kindKnown" -}}
{{- if .Capabilities.APIVersions.Has "images.banzaicloud.io/v1alpha1/ImagePullSecret" }}true{{ end }}
{{- end }}

{{- /* Whether the cluster knows the policies that inject into Pods: Kubernetes 1.36 and later. */ -}}
{{- define "imagepullsecret-operator.injectionKnown" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}true{{ end }}
{{- end }}

{{- /* Whether the cluster knows the policies of the fence: Kubernetes 1.30 and later. */ -}}
{{- define "imagepullsecret-operator.fenceKnown" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" }}true{{ end }}
{{- end }}

{{- /*
Whether a hook may make the first ImagePullSecret. Not with Helm 3: its
client-side apply takes over what a hook made without changing it, so a change
of values in that upgrade would be lost without a word.
*/ -}}
{{- define "imagepullsecret-operator.hookAllowed" -}}
{{- if semverCompare ">=4.0.0-0" .Capabilities.HelmVersion.Version }}true{{ end }}
{{- end }}

{{- /* A rule of a NetworkPolicy: to some TCP ports, of some CIDRs or, if there are none, of anything. */ -}}
{{- define "imagepullsecret-operator.egressTo" -}}
{{- $rule := dict "ports" list }}
{{- range .ports }}
{{- $_ := set $rule "ports" (append $rule.ports (dict "port" . "protocol" "TCP")) }}
{{- end }}
{{- with .cidrs }}
{{- $_ := set $rule "to" list }}
{{- range . }}
{{- $_ := set $rule "to" (append $rule.to (dict "ipBlock" (dict "cidr" .))) }}
{{- end }}
{{- end }}
{{- toYaml (list $rule) }}
{{- end }}

{{- /* What makes an object a part of the clean-up before helm uninstall. */ -}}
{{- define "imagepullsecret-operator.cleanupHook" }}
  annotations:
    helm.sh/hook: pre-delete
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* What cleaning up needs where Secrets are kept, of a list of names; of any if it is empty. */ -}}
{{- define "imagepullsecret-operator.rules.cleanup" }}
# Until the garbage collector has taken the last one.
- apiGroups:
  - ""
  resources:
  - secrets
  {{- with . }}
  resourceNames:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  verbs:
  - list
# The operator's entries in imagePullSecrets.
- apiGroups:
  - ""
  resources:
  - serviceaccounts
  verbs:
  - get
  - list
  - patch
{{- end }}

{{- /* The right to delete Secrets, of a list of names; of any if it is empty. */ -}}
{{- define "imagepullsecret-operator.deletingSecrets" }}
- apiGroups:
  - ""
  resources:
  - secrets
  {{- with . }}
  resourceNames:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  verbs:
  - delete
{{- end }}
