# Reads go test -json; prints one line per package, the output of what failed, and at the end "N passed, N failed".
#
# A test with subtests counts as its subtests; by itself only when it failed and none of them did. A package that failed
# without a failing test (it does not compile, its TestMain exits) is one failure. faults, given by the caller, are
# added to the failures. No test at all is a failure: a run that tested nothing proves nothing.

function field(name,    at, rest) {
	at = index($0, "\"" name "\":\"")
	if (!at) return ""
	rest = substr($0, at + length(name) + 4)
	if (!match(rest, /^([^"\\]|\\.)*/)) return ""
	return unescape(substr(rest, 1, RLENGTH))
}

function unescape(s) {
	if (!index(s, "\\")) return s
	gsub(/\\\\/, "\001", s)
	gsub(/\\n/, "\n", s)
	gsub(/\\t/, "\t", s)
	gsub(/\\r/, "", s)
	gsub(/\\"/, "\"", s)
	gsub(/\\u003c/, "<", s)
	gsub(/\\u003e/, ">", s)
	gsub(/\\u0026/, "\\&", s)
	gsub(/\001/, "\\", s)
	return s
}

# Lines that are no JSON come from the tools themselves and are worth seeing.
!/^\{/ { print; next }

{
	action = field("Action")
	package = field("Package")
	test = field("Test")
	key = package SUBSEP test
}

action == "build-output" { printf "%s", field("Output"); next }

action == "output" {
	text = field("Output")
	if (text !~ /^=== (RUN|PAUSE|CONT|NAME)/) said[key] = said[key] text
	next
}

action == "pass" || action == "fail" || action == "skip" {
	if (test != "") {
		result[key] = action
		if (action == "fail") {
			failedIn[package]++
			broken[package] = broken[package] said[key]
		}
		delete said[key]
		next
	}
	if (action == "fail") {
		printf "%s%s", broken[package], said[key]
		if (!failedIn[package]) failed++
	} else if (said[key] !~ /no test files/) {
		n = split(said[key], lines, "\n")
		print lines[n - 1]
	}
	delete said[key]
}

END {
	for (key in result) {
		split(key, part, SUBSEP)
		name = part[2]
		while (match(name, /\/[^\/]*$/)) {
			name = substr(name, 1, RSTART - 1)
			parent = part[1] SUBSEP name
			hasChild[parent] = 1
			if (result[key] == "fail") childFailed[parent] = 1
		}
	}
	for (key in result) {
		if (result[key] == "fail" && !childFailed[key]) failed++
		if (hasChild[key]) continue
		if (result[key] == "pass") passed++
		if (result[key] == "skip") skipped++
	}
	failed += faults
	if (passed + failed == 0) {
		print "no test ran"
		failed = 1
	}
	printf "%d passed, %d failed", passed, failed
	if (skipped) printf ", %d skipped", skipped
	print ""
	exit failed > 0
}
