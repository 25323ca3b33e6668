#!/usr/bin/env bash
# Everything that must hold before a commit: format, vet, staticcheck, migration numbers, openapi.yaml, and all tests
# under the race detector on one private PostgreSQL. The last line is "N passed, N failed"; the exit code is 0 only if none failed.
# Arguments go to go test instead of ./... (scripts/check.sh ./courier/... -run Fee); without any, the module
# notify/sigcheck is tested, too.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 1

# Where git does not trust the tree (another owner, no .git), Go cannot stamp the commit and must not try.
if ! git rev-parse HEAD >/dev/null 2>&1; then
	export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
fi

faults=0
check() { # name, command…: a command that fails, or says anything, is a fault
	local name=$1 out
	shift
	if out=$("$@" 2>&1) && [ -z "$out" ]; then
		echo "ok   $name"
	else
		echo "FAIL $name"
		echo "$out" | sed 's/^/     /'
		faults=$((faults + 1))
	fi
}

format() { find . -name '*.go' -not -path './bin/*' -print0 | xargs -0 gofmt -l; }
in_sigcheck() { (cd notify/sigcheck && "$@"); }
lint_api() { # says nothing when there is neither an error nor a warning
	local out
	out=$(scripts/node_modules/.bin/redocly lint --config scripts/redocly.yaml cmd/emsd/internal/api/openapi.yaml 2>&1) && ! grep -Eq 'You have [0-9]+ (warning|error)' <<<"$out" && return
	echo "$out" && false
}
old_client() { # says how the generated client differs from what openapi.yaml makes today
	local dir=cmd/emsd/internal/apiclient
	sed "s#^output:.*#output: $work/client.go#; s#path: overlay#path: $dir/overlay#" $dir/config.yaml >"$work/client.yaml"
	go tool oapi-codegen -config "$work/client.yaml" cmd/emsd/internal/api/openapi.yaml &&
		diff -q $dir/client.gen.go "$work/client.go" >/dev/null || echo "run go generate ./$dir"
}
staticcheck() { go build -o "$work/staticcheck" honnef.co/go/tools/cmd/staticcheck && GOFLAGS="${GOFLAGS:-} -race" "$work/staticcheck" ./...; }
twin_migrations() { find migrations -maxdepth 1 -name '*.sql' -printf '%f\n' | cut -d_ -f1 | sort | uniq -d; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# First the modules and the build, so that what they say of downloads is not taken for a fault.
go mod download || faults=$((faults + 1))
[ $# -gt 0 ] || in_sigcheck go mod download || faults=$((faults + 1))
check "gofmt: these files are not formatted" format
# With -race, as the tests: what they need is then compiled once. The checker itself is not, it would be slower.
check "go vet" go vet -race ./...
check "staticcheck" staticcheck
check "migrations: no two of one number" twin_migrations
check "openapi.yaml: the linter of scripts/package.json" lint_api
check "apiclient: generated from openapi.yaml as it is" old_client

if go build -o "$work/server" ./migrations/dbtest/server; then
	signers=true
	[ $# -gt 0 ] || { set -- ./... && signers="in_sigcheck go test -json -timeout 5m ./..."; }
	# -vet=off: go vet has looked at all of it, and by more rules.
	{ $signers && signed=0 || signed=1; "$work/server" -- go test -json -race -vet=off -timeout 20m "$@" && [ "$signed" -eq 0 ]; } | awk -v faults="$faults" -f scripts/tests.awk
	codes=("${PIPESTATUS[@]}")
	[ "${codes[0]}" -eq 0 ] && [ "${codes[1]}" -eq 0 ]
else
	echo "0 passed, $((faults + 1)) failed"
	exit 1
fi
