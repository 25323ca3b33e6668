package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// static holds the files of static/ by name.
type static map[string]asset

type asset struct {
	body        []byte
	contentType string
	hash        string
}

func readStatic() static {
	files := static{}
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, e := range entries {
		body, err := fs.ReadFile(staticFiles, "static/"+e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		files[e.Name()] = asset{body, mime.TypeByExtension(path.Ext(e.Name())), hex.EncodeToString(sum[:8])}
	}
	return files
}

// path links a file with its hash, so that browsers keep it until it changes.
func (s static) path(name string) string { return "/console/static/" + name + "?v=" + s[name].hash }

func (s static) serve(w http.ResponseWriter, r *http.Request) {
	a, ok := s[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	if r.URL.Query().Get("v") == a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Write(a.body)
}
