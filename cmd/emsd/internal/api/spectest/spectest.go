// Package spectest holds HTTP calls of tests against the OpenAPI document: what was taken must be something that the
// document allows, and every answer must be one that it describes, to the last field and problem code.
package spectest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// A Transport makes calls through Next and turns what the document does not allow into an error. Calls of other paths
// than /v1 pass.
type Transport struct {
	Next   http.RoundTripper
	router *http.ServeMux
	line   *openapi3.Schema // of an answer to a batch
}

// New reads the document. It is held as OpenAPI 3.0, which it is but for the webhooks and two words of its header: the
// validator for 3.1 compiles every schema anew for every call.
func New(spec []byte, next http.RoundTripper) (*Transport, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, err
	}
	doc.OpenAPI, doc.Webhooks, doc.Servers, doc.Info.Summary, doc.Info.License.Identifier = "3.0.3", nil, nil, "", ""
	for _, s := range doc.Components.Schemas {
		close(s.Value)
	}
	return &Transport{next, newRouter(doc), doc.Components.Schemas["BatchLine"].Value}, nil
}

// A found is the operation of a request, as the router left it in the request's context.
type found struct {
	route  *routers.Route
	params map[string]string
}

type foundKey struct{}

// newRouter matches as the daemon does, by http.ServeMux.
func newRouter(doc *openapi3.T) *http.ServeMux {
	mux := http.NewServeMux()
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			route := &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
			mux.HandleFunc(method+" "+path, func(_ http.ResponseWriter, r *http.Request) {
				f := r.Context().Value(foundKey{}).(*found)
				f.route, f.params = route, map[string]string{}
				for _, p := range append(item.Parameters, op.Parameters...) {
					if p.Value.In == openapi3.ParameterInPath {
						f.params[p.Value.Name] = r.PathValue(p.Value.Name)
					}
				}
			})
		}
	}
	return mux
}

func (t *Transport) find(r *http.Request) found {
	var f found
	t.router.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), foundKey{}, &f)))
	return f
}

// close makes an answer with a field that is not described a fault. Clients are told to ignore such fields, so the
// document itself leaves objects open.
func close(s *openapi3.Schema) {
	if s.Type.Is("object") && len(s.Properties) > 0 {
		no := false
		s.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
	}
}

// RoundTrip makes one call.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return t.Next.RoundTrip(r)
	}
	batch := strings.HasSuffix(r.URL.Path, ":batch")
	var body []byte
	if r.Body != nil && !batch {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	res, err := t.Next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if batch && res.StatusCode == http.StatusOK {
		res.Body = &lines{ReadCloser: res.Body, schema: t.line}
		return res, nil
	}
	answer, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(answer))
	if err := t.hold(r, body, res, answer); err != nil {
		return nil, fmt.Errorf("openapi.yaml does not allow %s %s answered %d %s: %w", r.Method, r.URL.Path, res.StatusCode, answer, err)
	}
	return res, nil
}

func (t *Transport) hold(r *http.Request, body []byte, res *http.Response, answer []byte) error {
	f := t.find(r)
	if f.route == nil {
		return unrouted(res, answer)
	}
	in := &openapi3filter.RequestValidationInput{Request: r.Clone(r.Context()), QueryParams: given(r.URL.Query()), Route: f.route, PathParams: f.params,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true}}
	if res.StatusCode < 300 {
		if len(body) > 0 {
			body = bytes.TrimPrefix(body, []byte("\ufeff")) // a mark of Windows programs, which the API overlooks
			in.Request.Body, in.Request.GetBody = io.NopCloser(bytes.NewReader(body)), nil
			in.Request.Header.Set("Content-Type", "application/json") // which the API does not look at
		}
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	if res.Header.Get("Content-Type") == "application/pdf" {
		return nil
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(r.Context(), out.SetBodyBytes(answer)); err != nil {
		return err
	}
	if res.StatusCode >= 400 {
		return listed(in.Route.Operation, res.StatusCode, answer)
	}
	return nil
}

// given leaves out parameters without a value, which count as not given.
func given(q url.Values) url.Values {
	for name, values := range q {
		if len(values) == 1 && values[0] == "" {
			delete(q, name)
		}
	}
	return q
}

// unrouted says what may be answered where the document has no call.
func unrouted(res *http.Response, answer []byte) error {
	code, err := codeOf(answer)
	if err == nil && (res.StatusCode == http.StatusNotFound && code == "no_such_call" || res.StatusCode == http.StatusUnauthorized && code == "unauthorized") {
		return nil
	}
	return errors.New("there is no such call")
}

// listed reports whether the problem's code stands in the operation's list for the status.
func listed(op *openapi3.Operation, status int, answer []byte) error {
	code, err := codeOf(answer)
	if err != nil {
		return err
	}
	codes, _ := op.Responses.Status(status).Value.Extensions["x-codes"].([]any)
	if !slices.Contains(codes, any(code)) {
		return fmt.Errorf("%s, %d: code %q is not listed in x-codes %v", op.OperationID, status, code, codes)
	}
	return nil
}

func codeOf(answer []byte) (string, error) {
	var p struct {
		Code string `json:"code"`
	}
	err := json.Unmarshal(answer, &p)
	return p.Code, err
}

// lines holds the answer to a batch, line by line, as it is read.
type lines struct {
	io.ReadCloser
	schema *openapi3.Schema
	rest   []byte
}

// Read passes bytes on once the lines that they end are known to be right.
func (l *lines) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.rest = append(l.rest, p[:n]...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return n, err
		}
		l.rest = rest
		var v any
		if jerr := json.Unmarshal(line, &v); jerr != nil {
			return n, fmt.Errorf("a line of the answer is no JSON: %s", line)
		}
		if verr := l.schema.VisitJSON(v, openapi3.VisitAsResponse()); verr != nil {
			return n, fmt.Errorf("openapi.yaml does not allow the line %s: %w", line, verr)
		}
	}
}
