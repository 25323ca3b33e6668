package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/console"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of this test binary; every test has a tab, with cookies of its own, in it.
var browser struct {
	sync.Mutex
	ctx   context.Context
	close context.CancelFunc
	dir   string
	err   error // one that did not start once is not tried again by every test
}

func startBrowser() (context.Context, error) {
	browser.Lock()
	defer browser.Unlock()
	if browser.ctx != nil || browser.err != nil {
		return browser.ctx, browser.err
	}
	dir, err := os.MkdirTemp("", "emsd-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "zh-CN"),
		chromedp.Flag("host-resolver-rules", "MAP permits.example 127.0.0.1"), // a host that is not trusted as loopback is
		chromedp.WSURLReadTimeout(60*time.Second), chromedp.CombinedOutput(io.Discard))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know
	browser.dir, browser.close = dir, func() { cancel(); stop() }
	if err := chromedp.Do(ctx); err != nil {
		browser.err = fmt.Errorf("start Chromium (scripts/setup.sh test installs it): %w", err)
		return nil, browser.err
	}
	browser.ctx = ctx
	return ctx, nil
}

// closeBrowser ends Chromium when all tests are done.
func closeBrowser() error {
	browser.Lock()
	defer browser.Unlock()
	if browser.close == nil {
		return nil
	}
	browser.close()
	return os.RemoveAll(browser.dir)
}

// A tab is one page in Chromium, with cookies of its own.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string
	mu   sync.Mutex
	said []string // errors of scripts, and what the policy of the page refused
}

// newTab opens a tab at a face of the daemon (d.api or d.public).
func newTab(t testing.TB, base string) *tab {
	t.Helper()
	parent, err := startBrowser()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	b := &tab{t: t, ctx: ctx, base: base}
	b.do(chromedp.EmulateViewport(1366, 900))
	messages := chromedp.Console(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			// What the network says of an answer like 422 is no complaint: tests look at answers themselves.
			if err == nil && (m.IsException() || m.Type == chromedp.ConsoleError && m.Source != "network") {
				b.hear(m.String())
			}
		}
	})
	t.Cleanup(func() {
		stop()
		cancel()
		listening.Wait()
	})
	return b
}

func (b *tab) hear(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

// do runs actions in the tab.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("in the browser: %v\n%s", err, b.text())
	}
}

// ask gives what an action finds.
func ask[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	found, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatalf("in the browser: %v\n%s", err, b.text())
	}
	return found
}

// text is what the page shows.
func (b *tab) text() string {
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + (document.body ? document.body.innerText : "")`))
	if err != nil {
		return err.Error()
	}
	return text
}

// cookies gives the tab the session of somebody who has signed in over HTTP.
func (b *tab) cookies(c *clerk) *tab {
	b.t.Helper()
	at, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, k := range c.client.Jar.Cookies(at) {
		if _, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: k.Name, Value: k.Value, URL: b.base}); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

// open loads a page of the face.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// click clicks what a CSS selector finds, and waits for the page that it leads to.
func (b *tab) click(selector string) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(selector)); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

// fill replaces the values of fields, given as selector and value in turn, as a person does who types.
func (b *tab) fill(fields ...string) {
	b.t.Helper()
	for i := 0; i+1 < len(fields); i += 2 {
		empty := fmt.Sprintf(`document.querySelector(%q).value = ""`, fields[i])
		b.do(chromedp.WaitVisible(fields[i]), chromedp.Evaluate[chromedp.Void](empty), chromedp.SendKeys(fields[i], fields[i+1]))
	}
}

// sees waits until the page shows a text.
func (b *tab) sees(text string) {
	b.t.Helper()
	until(b.t, 20*time.Second, "shown: "+text, func() bool { return strings.Contains(b.text(), text) })
}

// confirm answers the questions that a page asks before it sends a form.
func (b *tab) confirm(yes bool) {
	b.t.Helper()
	asked := make(chan struct{}, 8)
	err := chromedp.Listen(b.ctx, func(ev any) {
		if _, ok := ev.(*page.EventJavascriptDialogOpening); ok {
			asked <- struct{}{}
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	go func() {
		for {
			select {
			case <-asked:
				_, err := chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: yes})
				if err != nil {
					b.hear("answer a question: " + err.Error())
				}
			case <-b.ctx.Done():
				return
			}
		}
	}()
}

// quietly fails the test for errors of scripts and for what the policy of the page refused.
func (b *tab) quietly() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		b.t.Errorf("the browser complains: %s", s)
	}
}

var axeSource = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile(filepath.Join("..", "..", "scripts", "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

// lookedAt are the paths of pages that axe-core has looked at, with {id} for the ids in them.
var lookedAt sync.Map

var idInPath = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// everyPageWasLookedAt says, after a run of all tests, at which pages of the console axe-core has not looked.
func everyPageWasLookedAt() error {
	if flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return nil
	}
	var missing []error
	paths := []string{"/console/sign-in", "/console/sign-in/code", "/console/sign-in/password", "/console/sign-in/second-factor"}
	for _, route := range console.Routes() {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if file := filepath.Ext(path); method == "GET" && file == "" && path != "/console/counter" { // which leads on
			paths = append(paths, strings.TrimSuffix(path, "{$}"))
		}
	}
	for _, path := range paths {
		if _, ok := lookedAt.Load(path); !ok {
			missing = append(missing, fmt.Errorf("no test has axe-core look at %s", path))
		}
	}
	return errors.Join(missing...)
}

// accessible fails for everything that axe-core finds on the page.
func (b *tab) accessible(what string) {
	b.t.Helper()
	source, err := axeSource()
	if err != nil {
		b.t.Fatalf("axe-core is missing (scripts/setup.sh test installs it): %v", err)
	}
	const run = `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html + " — " + n.failureSummary)}))))`
	b.do(chromedp.Evaluate[chromedp.Void](source + ";0"))
	lookedAt.Store(idInPath.ReplaceAllString(ask(b, chromedp.Evaluate[string]("location.pathname")), "{id}"), true)
	found := ask(b, chromedp.Evaluate[string](run, chromedp.EvalAwaitPromise))
	var violations []struct {
		ID, Help string
		Nodes    []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatalf("axe-core on %s answered %q: %v", what, found, err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe-core finds %s (%s):\n%s", what, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
	}
}

// widths are those of a phone, a tablet and a desk.
var widths = []int64{390, 820, 1366}

// shots is where screenshots are kept: the directory of EMSD_TEST_SCREENSHOTS; without, none is taken.
func shots(t testing.TB) string {
	dir := os.Getenv("EMSD_TEST_SCREENSHOTS")
	if dir == "" {
		return ""
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// look fails where a page is wider than its window, at three widths, and takes the whole page at each as NAME-390.png and so
// on when there is a directory.
func (b *tab) look(dir, name string) {
	b.t.Helper()
	for _, w := range widths {
		b.do(chromedp.EmulateViewport(w, 900))
		wide := ask(b, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > window.innerWidth`))
		if wide {
			b.t.Errorf("%s is wider than a window of %d", name, w)
		}
		if dir == "" {
			continue
		}
		picture, err := fewColours(ask(b, chromedp.FullScreenshot(100)))
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, w)), picture, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	b.do(chromedp.EmulateViewport(1366, 900))
}

// fewColours makes a screenshot small enough for the guide: a page has few colours beside the edges of its letters.
func fewColours(shot []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	seen := map[color.RGBA]int{}
	r := img.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			seen[color.RGBA{c.R &^ 7, c.G &^ 7, c.B &^ 7, 255}]++
		}
	}
	common := slices.SortedFunc(maps.Keys(seen), func(a, b color.RGBA) int { return cmp.Compare(seen[b], seen[a]) })
	palette := color.Palette{}
	for _, c := range common[:min(48, len(common))] {
		palette = append(palette, color.RGBA{c.R | c.R>>5, c.G | c.G>>5, c.B | c.B>>5, 255})
	}
	small := image.NewPaletted(r, palette)
	nearest := map[color.RGBA]uint8{}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			i, ok := nearest[c]
			if !ok {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small)
	return out.Bytes(), err
}

func (b *tab) title() string { b.t.Helper(); return ask(b, chromedp.Title()) }

// openDetails opens what a page keeps folded, as a person does before filling in a form.
var openDetails = chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach((d) => d.open = true)`)
