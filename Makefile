# make help lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

MODULE := github.com/imagepullsecrets/operator
CHART := charts/imagepullsecret-operator
BIN := $(CURDIR)/bin

# The version of the chart, the image and the bundle.
RELEASE := $(shell sed -n 's/^version: //p' $(CHART)/Chart.yaml)
# Without it, gRPC's trace page, which nothing serves, keeps the linker from
# leaving unused code out: 12 MB more.
TAGS := grpcnotrace
# The version of this build, the commit (-dirty if the files differ from it) and
# the commit's date: of the build itself nothing is noted, so that the same
# sources give the same bytes.
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null)
DATE ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
# A static binary; the Dockerfile builds it by the same words. The linker is told
# what Go would note of the checkout, which the image's build may not have.
STAMP := $(MODULE)/internal/version
GO_BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags $(TAGS) \
	-ldflags "-s -w -X $(STAMP).version=$(VERSION) -X $(STAMP).commit=$(COMMIT) -X $(STAMP).date=$(DATE)"

REPOSITORY := ghcr.io/imagepullsecrets/operator
IMG ?= $(REPOSITORY):v$(RELEASE)

# Further arguments: for test and cover of go test, for run of manager.
ARGS ?=

KUBECTL ?= kubectl

# What `make generate` writes.
GENERATED := api/v1alpha1/zz_generated.deepcopy.go api/v1alpha1/applyconfiguration config/crd/bases \
	$(CHART)/templates/crd.yaml $(CHART)/templates/_rules.tpl $(CHART)/templates/pod-injection.yaml $(CHART)/templates/fence.yaml \
	$(CHART)/Chart.yaml $(CHART)/README.md \
	docs/api.md docs/flags.md docs/metrics.md
# And what `make bundle` writes.
BUNDLED := config/manifests/bases bundle bundle.Dockerfile

# The modules beside the operator's own that have tests.
TEST_MODULES := tests tests/bundle tests/kubelet tests/witness tools/image

# Tests that have a cluster of their own and therefore can't run beside others
# of their package: `make test` gives them two processes of their own, for those
# that mostly wait and for those that mostly work. What is not named here runs
# with the rest, one package at a time: three processes with clusters are enough
# for two cores.
WAITING := AMissingRightIsNamed|AnOutage.*|AttachingWithAnOperatorOfItsOwn|BadTransportInAClusterOfItsOwn|LeasesThatMayNotBeRead.*|LossesAreSurvived|\
ManyLoginsThatEndIn.*|NamespacesMode.*|PodsThatWereThereBeforeCount|RecoveryWithoutItsRights.*
WORKING := ARestart.*|ASourceThatGoesWhile.*|AnnotatedObjects.*|BadAWSAndGoogleForAnOperator.*|CleaningUp|Fence.*|Injection.*|Migrations.*|NamedMode.*|\
SourcesOfEveryCloud.*|TenantsInACluster.*|TheManagerOnce.*|ThePatcher.*|TheRefresher.*
alone = ^Test($(subst | ,|,$(1)))$$

# Every module of the repository.
MODULES := $(sort $(dir $(shell git ls-files --cached --others --exclude-standard -- go.mod '*/go.mod')))

##@ General

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} \
		/^[a-zA-Z0-9_\/-]+:.*?##/ {printf "  %-16s %s\n", $$1, $$2} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)}' $(MAKEFILE_LIST)

##@ Develop

.PHONY: build
build: ## Build bin/imagepullsecret-operator.
	$(GO_BUILD) -o bin/imagepullsecret-operator .

.PHONY: run
run: ## Run the operator on this machine against the current kubeconfig. ARGS=--log-level=debug
	go run . manager --leader-elect=false --namespace=default --log-format=console $(ARGS)

.PHONY: generate
generate: bin/controller-gen bin/helm-docs ## Write everything that follows from the API types, config/ and the code.
	rm -rf api/v1alpha1/applyconfiguration
	bin/controller-gen object paths=./api/v1alpha1
	bin/controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	bin/controller-gen applyconfiguration paths=./api/v1alpha1
	go run ./hack/chartgen
	bin/helm-docs --chart-search-root charts --sort-values-order file --log-level warning
	go run ./hack/docgen

.PHONY: verify
verify: bin/operator-sdk bin/kustomize ## Fail if generated files, go.mod files or formatting are not as they should be.
	@hack/verify $(GENERATED) $(BUNDLED)
	@for module in $(MODULES); do echo "go mod tidy -diff in $$module"; (cd $$module && go mod tidy -diff); done
	@unformatted=$$(git ls-files --cached --others --exclude-standard -- '*.go' | \
		while read -r file; do if [ -f "$$file" ]; then echo "$$file"; fi; done | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then printf 'not as gofmt writes it:\n%s\n' "$$unformatted"; exit 1; fi

.PHONY: lint
lint: bin/golangci-lint bin/helm bin/helm3 ## Lint the Go code and the chart.
	bin/golangci-lint run ./...
	@for module in $(TEST_MODULES); do \
		echo "golangci-lint in $$module"; \
		(cd $$module && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yaml ./...); \
	done
	bin/helm lint --strict $(CHART)
	bin/helm3 lint --strict $(CHART)

##@ Test

# Go would take results from its cache though the operator or the chart has
# changed, which the tests of other modules run as processes.
FRESH := -count=1 -timeout 30m

.PHONY: test
test: prepare ## Run every test that needs no root, in every module. ARGS="-run TestX -v"
	@status=0; \
	go test $(ARGS) ./... || status=1; \
	(cd tests && go test $(FRESH) -run '$(call alone,$(WAITING))' $(ARGS) ./integration) & waiting=$$!; \
	(cd tests && go test $(FRESH) -run '$(call alone,$(WORKING))' $(ARGS) ./integration) & working=$$!; \
	(cd tests && go test $(FRESH) -p 1 -skip '$(call alone,$(WAITING)|$(WORKING))' $(ARGS) ./...) || status=1; \
	wait $$waiting || status=1; \
	wait $$working || status=1; \
	for module in $(filter-out tests,$(TEST_MODULES)); do \
		(cd $$module && go test $(FRESH) $(ARGS) ./...) || status=1; \
	done; \
	exit $$status

# The older versions of Kubernetes that the tests can run against; how each
# differs is in docs/operations.md.
KUBERNETES_VERSIONS := 1.30 1.33 1.35

.PHONY: test-kubernetes
test-kubernetes: bin/helm bin/helm3 bin/kustomize ## Run the tests that need a cluster on an older Kubernetes. KUBERNETES=1.30 ARGS="-run TestX"
	@cd tests && export KUBERNETES_VERSION=$(KUBERNETES) && go run ./cluster/prepare && \
		go test $(FRESH) -timeout 60m -p 1 $(ARGS) ./integration ./chart

.PHONY: test-versions
test-versions: ## The same on each of the older versions, 1.30 to 1.35, which takes about an hour.
	@status=0; \
	for version in $(KUBERNETES_VERSIONS); do \
		echo "Kubernetes $$version"; \
		$(MAKE) --no-print-directory test-kubernetes KUBERNETES=$$version || status=1; \
	done; \
	exit $$status

# The tests' Kubernetes is compiled before them, and shows its progress.
.PHONY: prepare
prepare: bin/helm bin/helm3 bin/kustomize bin/operator-sdk bin/scorecard-test bin/opm
	@cd tests && go run ./cluster/prepare

.PHONY: witness-tools
witness-tools: ## Install what tests/witness calls (as root on Debian or Ubuntu; without it, tests are skipped).
	@hack/system-tools 'tests/witness, which skips tests without them' aws=awscli skopeo=skopeo

# What is upgraded from, and rolled back to.
PREVIOUS := 0.1.0

# What a node takes from the system is installed where that is possible; the
# tests say what is missing.
.PHONY: e2e
e2e: prepare ## Run the end-to-end tests on a real node (root and Linux only). ARGS="-run TestX"
	@hack/system-tools 'tests/e2e' runc=runc /usr/lib/cni/bridge=containernetworking-plugins iptables=iptables ip=iproute2 mount=mount
	@cd tests && go run ./cluster/prepare -node
	@$(MAKE) --no-print-directory image DIST=$(BIN)/e2e/current PUSH=
	@hack/released $(PREVIOUS) $(BIN)/e2e/previous
	@cd tests && go test -tags e2e -count=1 -timeout 30m -v $(ARGS) ./e2e

.PHONY: cover
cover: ## Run the tests and write coverage/index.html.
	mkdir -p coverage
	go test $(ARGS) -coverpkg=./... -coverprofile=coverage/unit.out ./...
	go tool cover -html=coverage/unit.out -o coverage/index.html
	go tool cover -func=coverage/unit.out | tail -1

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (60s).
	@grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | while read -r file; do \
		dir=$$(dirname $$file); \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$name in $$dir"; \
			(cd $$dir && go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),60s) .) </dev/null; \
		done; \
	done

.PHONY: demo
demo: ## See the operator at work on an embedded cluster. KEEP=1 leaves it running.
	cd tests && go run ./demo $(if $(KEEP),-keep)

.PHONY: bench
bench: ## Measure speed and memory against a plain client.
	cd tests && go run ./bench $(ARGS)

##@ Install (into the current kubeconfig's cluster)

.PHONY: install
install: ## Install the CRD.
	$(KUBECTL) apply --server-side -f config/crd/bases

.PHONY: uninstall
uninstall: ## Remove the CRD, and with it every ImagePullSecret.
	$(KUBECTL) delete --ignore-not-found -f config/crd/bases

# What the current cluster takes: before Kubernetes 1.36 there is no policy that
# gives Pods the Secrets' names.
INSTALLATION = config/$(shell $(KUBECTL) get --raw /apis/admissionregistration.k8s.io/v1 | \
	grep -q '"MutatingAdmissionPolicy"' && echo default || echo without-injection)

.PHONY: deploy
deploy: bin/kustomize ## Install the CRD and the operator.
	bin/kustomize build $(INSTALLATION) | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: bin/kustomize ## Remove the operator, the CRD and every ImagePullSecret.
	bin/kustomize build $(INSTALLATION) | $(KUBECTL) delete --ignore-not-found -f -

##@ Release

# The image's architectures, and where what is released is put.
ARCHITECTURES := amd64 arm64
DIST ?= $(CURDIR)/dist
# What the image says of its origin.
ORIGIN = -version "$(VERSION)" -revision "$(COMMIT)" -created "$(DATE)"

.PHONY: image
image: ## Build the image IMG without docker into dist/, and check it. PUSH=registry/repository:tag sends it there.
	rm -rf $(DIST)/image $(DIST)/*.oci.tar $(DIST)/*-linux-*
	@for arch in $(ARCHITECTURES); do \
		echo "building for linux/$$arch"; \
		GOOS=linux GOARCH=$$arch $(GO_BUILD) -o bin/linux-$$arch/imagepullsecret-operator . || exit 1; \
	done
	cd tools/image && go build -trimpath -o $(BIN)/image .
	bin/image write -out $(DIST) -name $(IMG) $(ORIGIN) $(ARCHITECTURES:%=bin/linux-%/imagepullsecret-operator)
	bin/image check -out $(DIST) $(ORIGIN)
	bin/image sums $(DIST)
	$(if $(PUSH),bin/image push -out $(DIST) $(PUSH))

.PHONY: docker-image
docker-image: ## Build the same image IMG with docker, for this machine's architecture.
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --build-arg DATE=$(DATE) -t $(IMG) .

# Where the bundles' images are.
BUNDLES ?= $(REPOSITORY)-bundle

.PHONY: bundle
bundle: bin/operator-sdk bin/kustomize ## Write the OLM bundle of IMG into bundle/ and validate it.
	hack/bundle $(RELEASE) $(IMG) $(REPOSITORY):v$(RELEASE)
	bin/operator-sdk bundle validate ./bundle --select-optional suite=operatorframework

.PHONY: catalog
catalog: bin/opm ## Write the OLM catalog of all releases into dist/catalog and validate it. INLINE=1 puts the bundles into it.
	hack/catalog $(DIST)/catalog $(if $(INLINE),,$(BUNDLES))
	bin/opm validate $(DIST)/catalog

.PHONY: release
release: bin/helm bin/kustomize bin/opm ## Write everything that a release consists of into dist/. VERSION=x.y.z is Chart.yaml's
	@hack/release "$(VERSION)" $(RELEASE) $(DIST)

.PHONY: verify-release
verify-release: ## Prepare the release twice, and fail if any byte differs.
	@twice=$$(mktemp -d); trap 'rm -rf $$twice' EXIT; \
	for time in first second; do \
		rm -rf bin/linux-*; $(MAKE) --no-print-directory release VERSION=$(RELEASE) DIST=$$twice/$$time PUSH=; \
	done; \
	diff -r $$twice/first $$twice/second && echo "twice the same bytes"

##@ Tools (built from the modules in tools/, on demand)

# $(call tool,NAME,PACKAGE,BUILD FLAGS,MODULE): a rule for bin/NAME, built from
# PACKAGE as tools/MODULE/go.mod pins it; MODULE is NAME if absent.
define tool
bin/$(1): tools/$(or $(4),$(1))/go.mod tools/$(or $(4),$(1))/go.sum
	@echo "building bin/$(1) (once; takes from seconds to minutes)" >&2
	@mkdir -p bin
	@cd tools/$(or $(4),$(1)) && CGO_ENABLED=0 go build -trimpath $(3) -o $(BIN)/$(1) $(2)
	@touch bin/$(1)
endef

# The Kubernetes version that helm takes for the cluster's when it has none.
HELM_KUBE := -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 \
	-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37
comma := ,
SDK := github.com/operator-framework/operator-sdk
SDK_VERSION := v1.42.3

$(eval $(call tool,controller-gen,sigs.k8s.io/controller-tools/cmd/controller-gen))
$(eval $(call tool,kustomize,sigs.k8s.io/kustomize/kustomize/v5))
$(eval $(call tool,helm,helm.sh/helm/v4/cmd/helm,-ldflags "-s -w"))
$(eval $(call tool,helm3,helm.sh/helm/v3/cmd/helm,-ldflags "-s -w $(HELM_KUBE)"))
$(eval $(call tool,helm-docs,github.com/norwoodj/helm-docs/cmd/helm-docs,-ldflags "-s -w"))
$(eval $(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,-ldflags "-s -w"))
# Without signatures by GPG and without Btrfs, which want C libraries.
CONTAINERS := -tags containers_image_openpgp$(comma)exclude_graphdriver_btrfs
$(eval $(call tool,operator-sdk,$(SDK)/cmd/operator-sdk,$(CONTAINERS) \
	-ldflags "-s -w -X $(SDK)/internal/version.Version=$(SDK_VERSION) -X $(SDK)/internal/version.GitVersion=$(SDK_VERSION) -X $(SDK)/internal/version.ImageVersion=$(SDK_VERSION)"))
$(eval $(call tool,scorecard-test,$(SDK)/images/scorecard-test,$(CONTAINERS) -ldflags "-s -w",operator-sdk))
# Without cgo there is no SQLite, which file-based catalogs do without.
$(eval $(call tool,opm,github.com/operator-framework/operator-registry/cmd/opm,$(CONTAINERS)$(comma)json1 -ldflags "-s -w"))

.PHONY: tools
tools: bin/controller-gen bin/kustomize bin/helm bin/helm3 bin/helm-docs bin/golangci-lint bin/operator-sdk bin/scorecard-test bin/opm ## Build the tools that verify, lint and test use.
