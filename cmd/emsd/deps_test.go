package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says which of our packages each of our packages may import: style.md, "Layout and package boundaries".
// Imports point up the way of a permit; simulators share no code with the clients they test; only cmd knows everybody.
// A package that is missing here must be thought about before it is added.
var mayImport = map[string][]string{
	"courier":            {"courier/vault", "courier/audit"},
	"courier/vault":      {},
	"courier/audit":      {},
	"courier/asynctest":  {},
	"courier/ems":        {"courier", "courier/vault"},
	"courier/emssim":     {},
	"courier/sheet":      {"courier", "courier/vault"},
	"courier/staff":      {"courier", "courier/vault", "courier/audit"},
	"tracking":           {"courier", "courier/vault", "courier/audit", "tracking/calendar"}, // a decision about a code is audited where it is made
	"tracking/calendar":  {},
	"tracking/tracetest": {"courier", "courier/vault"},
	"notify":             {"courier", "courier/vault", "courier/audit"}, // a refusal is audited where it is kept
	"notify/post":        {"notify", "courier"},                         // the trace of the request
	"notify/aliyun":      {"notify", "notify/post", "courier", "courier/vault"},
	"notify/mas":         {"notify", "notify/post", "courier/vault"},
	"notify/tencent":     {"notify", "notify/post", "courier/vault"},
	"notify/webhook":     {"courier", "courier/vault", "courier/audit"},
	"notify/smssim":      {},

	"migrations":               {},
	"migrations/privatepg":     {},
	"migrations/dbtest":        {"migrations", "migrations/privatepg"},
	"migrations/dbtest/server": {"migrations/dbtest", "migrations/privatepg"},

	"cmd/emsd":                       {everything},
	"cmd/emsd/internal/bench":        {everything},
	"cmd/emsd/internal/heap":         {},
	"cmd/emsd/internal/intake":       {"courier", "courier/vault", "courier/audit"},
	"cmd/emsd/internal/web":          {everything},
	"cmd/emsd/internal/api":          {everything},
	"cmd/emsd/internal/apiclient":    {},
	"cmd/emsd/internal/api/spectest": {},
	"cmd/emsd/internal/console":      {everything},
	"cmd/emsd/internal/resident":     {everything},
	"cmd/emssim":                     {everything},
}

const everything = "*"

// testsMayImport is what the tests of any package may import besides: servers, simulators, and the clients, so that
// rounds are tested over the real wire form.
var testsMayImport = []string{"migrations", "migrations/dbtest", "migrations/privatepg", "courier/emssim", "notify/smssim", "courier/ems",
	"notify/aliyun", "notify/mas", "notify/tencent", "tracking/tracetest", "courier/asynctest"}

// onlyIn holds modules that must not spread, with the packages that may use them.
var onlyIn = map[string][]string{
	"github.com/go-resty/resty/v2": {"cmd/emsd/internal/bench", "courier/ems", "notify/post", "notify/webhook"},
	"github.com/robfig/cron/v3":    {"cmd/emsd"},
}

// databaseModules are for files named store*.go, for migrations, and for cmd, which makes the pool and hands it on.
var databaseModules = map[string]string{"database/sql": "sql", "github.com/jmoiron/sqlx": "sqlx", "github.com/lib/pq": "pq"}

// handles are the names of databaseModules that any file may use: a round holds the pool and opens the transaction that
// its steps share; the statements themselves stand in store*.go.
var handles = []string{"sqlx.DB", "sqlx.Tx", "sqlx.QueryerContext"}

// goFolders are the top-level folders that hold Go.
var goFolders = []string{"cmd", "courier", "tracking", "notify", "migrations"}

type goPackage struct {
	ImportPath, Dir           string
	Imports                   []string
	TestImports, XTestImports []string
	GoFiles                   []string
}

// list is what go list knows of our packages, by path within the module.
func list(t *testing.T, root string) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-buildvcs=false", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[strings.TrimPrefix(p.ImportPath, "emsd/")] = p
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func ours(imports []string) []string {
	var names []string
	for _, path := range imports {
		if name, ok := strings.CutPrefix(path, "emsd/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestImportsPointUp(t *testing.T) {
	t.Parallel()
	for name, p := range list(t, moduleRoot(t)) {
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is new: think about what it may import and who may import it, then add it to mayImport", name)
			continue
		}
		if slices.Contains(allowed, everything) {
			continue
		}
		for _, imported := range ours(p.Imports) {
			if !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s, but may import only %v", name, imported, allowed)
			}
		}
		for _, imported := range ours(slices.Concat(p.TestImports, p.XTestImports)) {
			if imported != name && !slices.Contains(allowed, imported) && !slices.Contains(testsMayImport, imported) {
				t.Errorf("a test of %s imports %s, but may import only %v and %v", name, imported, allowed, testsMayImport)
			}
		}
	}
}

func TestModulesDoNotSpread(t *testing.T) {
	t.Parallel()
	for name, p := range list(t, moduleRoot(t)) {
		for module, allowed := range onlyIn {
			if slices.Contains(p.Imports, module) && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which is for %v", name, module, allowed)
			}
		}
	}
}

func TestGoIsInTheFiveFolders(t *testing.T) {
	t.Parallel()
	for _, file := range goFiles(t, moduleRoot(t)) {
		if top, _, _ := strings.Cut(file, "/"); !slices.Contains(goFolders, top) {
			t.Errorf("%s: Go belongs below %v", file, goFolders)
		}
	}
}

// goFiles are all Go files of the module, tests and data too, as paths with slashes from root.
func goFiles(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, ".go"):
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// mayHoldSQL says whether a file is one of those that speak to the database.
func mayHoldSQL(file string) bool {
	base := path.Base(file)
	return strings.HasPrefix(file, "migrations/") || strings.HasPrefix(base, "store") || strings.HasSuffix(base, "_test.go")
}

func TestSQLIsInStoreFiles(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	for _, file := range goFiles(t, root) {
		if mayHoldSQL(file) {
			continue
		}
		tokens := token.NewFileSet()
		parsed, err := parser.ParseFile(tokens, filepath.Join(root, filepath.FromSlash(file)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, at := range sqlIn(parsed) {
			t.Errorf("%s:%d: SQL belongs in files named store*.go", file, tokens.Position(at).Line)
		}
		// cmd wires the parts together and so passes the pool around.
		if strings.HasPrefix(file, "cmd/") {
			continue
		}
		for _, name := range databaseNames(parsed) {
			if !slices.Contains(handles, name) {
				t.Errorf("%s uses %s, which is for files named store*.go", file, name)
			}
		}
	}
}

// databaseNames are what a file uses of databaseModules, each once.
func databaseNames(file *ast.File) []string {
	modules := map[string]bool{}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value) // the parser has read it
		name, ok := databaseModules[imported]
		if ok && spec.Name != nil {
			name = spec.Name.Name
		}
		modules[name] = ok
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && modules[id.Name] {
				names = append(names, id.Name+"."+sel.Sel.Name)
			}
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// statement finds SQL as we write it: keywords in upper case.
var statement = regexp.MustCompile(`(?s)\bSELECT\s.*\sFROM\s|\bINSERT\s+INTO\s|\bUPDATE\s+\S+\s.*\bSET\s|\bDELETE\s+FROM\s|\bMERGE\s+INTO\s|\bTRUNCATE\s`)

// sqlIn is where the string expressions with SQL begin. A concatenation counts as one string.
func sqlIn(file *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		text, ok := flat(e)
		if !ok {
			return true
		}
		if statement.MatchString(text) {
			found = append(found, e.Pos())
		}
		return false
	})
	return found
}

// flat is the text of a string literal or of a sum that holds one; what is no literal becomes x.
func flat(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text + " ", err == nil
	case *ast.ParenExpr:
		return flat(e.X)
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		left, leftOK := flat(e.X)
		right, rightOK := flat(e.Y)
		if !leftOK {
			left = "x "
		}
		if !rightOK {
			right = "x "
		}
		return left + right, leftOK || rightOK
	}
	return "", false
}

func TestTheSearchFindsSQL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, expr string
		want       int
	}{
		{"select", "`\n SELECT id\n FROM deliveries`", 1},
		{"select in pieces", "`SELECT ` + columns + ` FROM deliveries`", 1},
		{"update with alias", "`UPDATE deliveries AS d SET status = $1`", 1},
		{"insert in a call", "db.Exec(`INSERT INTO scans VALUES ($1)`)", 1},
		{"within a CTE", "`WITH gone AS (DELETE FROM x RETURNING id) SELECT 1`", 1},
		{"two statements", "f(`DELETE FROM a `, `DELETE FROM b `)", 2},
		{"plain English", `"select a permit from the list, update it, set it aside"`, 0},
		{"a ping", `"SELECT 1"`, 0},
		{"a number", "1 + 2", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar _ = "+tt.expr, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(sqlIn(parsed)); got != tt.want {
				t.Errorf("found %d statements in %s, want %d", got, tt.expr, tt.want)
			}
		})
	}
}
