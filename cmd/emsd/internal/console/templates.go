package console

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"strings"
)

//go:embed templates
var templateFiles embed.FS

// templates are the pages by name, each with the layout and the shared parts.
type templates map[string]*template.Template

// readTemplates parses every page at the start: one that does not parse stops the program in its tests.
func readTemplates(files static) templates {
	shared := template.New("").Funcs(words).Funcs(counterWords).Funcs(template.FuncMap{"asset": files.path})
	shared = template.Must(shared.ParseFS(templateFiles, "templates/layout.html"))
	if parts, err := fs.Glob(templateFiles, "templates/part_*.html"); err != nil || len(parts) > 0 {
		shared = template.Must(shared.ParseFS(templateFiles, "templates/part_*.html"))
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	pages := templates{}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || strings.HasPrefix(name, "part_") {
			continue
		}
		pages[name] = template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, file))
	}
	return pages
}

func (t templates) execute(w io.Writer, name string, s *screen) error {
	page := t[name]
	if page == nil {
		return fmt.Errorf("there is no page %q", name)
	}
	if err := page.ExecuteTemplate(w, "layout", s); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	return nil
}
