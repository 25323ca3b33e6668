package api

import (
	_ "embed"
	"net/http"
)

// Spec is the OpenAPI 3.1 document of every call: spec_test.go compares it with what is registered, and the tests of
// cmd/emsd hold each request and answer against it.
//
//go:embed openapi.yaml
var Spec []byte

// serveSpec answers the document. It needs no token: it says nothing that is not in the source.
func serveSpec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(Spec)
}
