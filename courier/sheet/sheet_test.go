package sheet

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

// fonts are Debian's, as scripts/setup.sh installs them.
var fonts = NewFonts([]string{
	"/usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf",
	"/usr/share/fonts/truetype/hanazono/HanaMinA.ttf",
	"/usr/share/fonts/truetype/hanazono/HanaMinB.ttf",
})

func testOrder(n int) courier.Order {
	return courier.Order{OrderNo: fmt.Sprintf("RP%016d", n), WaybillNo: fmt.Sprintf("12%011d", n), PaymentMode: 1 + n%2, Contents: "证件",
		Remarks: "证件类邮件，请核对收件人身份证件后当面交本人签收，请勿投放快递柜或门口。",
		Sender: courier.Party{Name: vault.Conceal("示例派出所户籍窗口"), Phone: vault.Conceal("01085000000"), Province: "北京市", City: "北京市",
			County: "朝阳区", Address: vault.Conceal("示例路9号")},
		Recipient: courier.Party{Name: vault.Conceal("阿依古丽·买买提"), Phone: vault.Conceal("13800000000"), Province: "河北省", City: "石家庄市",
			County: "长安区", Address: vault.Conceal("示例路1号院2号楼301室")}}
}

// read gives the text of a document, page by page, and its pages as pictures.
func read(t *testing.T, pdf []byte) (pages []string, pictures []image.Image) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sheet.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "pdftotext", "-layout", file, "-").Output()
	if err != nil {
		t.Fatalf("pdftotext (scripts/setup.sh test installs it): %v", err)
	}
	pages = strings.Split(strings.TrimSuffix(string(out), "\f"), "\f")
	if out, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "150", "-png", file, filepath.Join(dir, "page")).CombinedOutput(); err != nil {
		t.Fatalf("pdftoppm: %v: %s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "page*.png"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, name := range files {
		if keep := os.Getenv("EMSD_TEST_KEEP_SHEETS"); keep != "" {
			copyFile(t, name, filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "_")+"-"+filepath.Base(name)))
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		picture, _, err := image.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, picture)
	}
	return pages, pictures
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

func TestALabelHasItsBarcodeAndWhoItIsFor(t *testing.T) {
	t.Parallel()
	orders := []courier.Order{testOrder(1), testOrder(2)}
	pdf, err := fonts.Labels(orders)
	if err != nil {
		t.Fatal(err)
	}
	pages, pictures := read(t, pdf)
	if len(pages) != 2 || len(pictures) != 2 {
		t.Fatalf("%d pages of text, %d pictures, want 2", len(pages), len(pictures))
	}
	for i, o := range orders {
		text := squeeze(pages[i])
		for _, want := range []string{o.WaybillNo, o.OrderNo, "阿依古丽·买买提", "13800000000", "河北省石家庄市长安区示例路1号院2号楼301室", "示例派出所户籍窗口", "请核对收件人身份证件后当面交本人签收"} {
			if !strings.Contains(text, want) {
				t.Errorf("page %d lacks %q", i+1, want)
			}
		}
		if got := strings.Contains(text, "到付"); got != (o.PaymentMode == 2) {
			t.Errorf("page %d, payment mode %d: marked 到付 is %t", i+1, o.PaymentMode, got)
		}
		if got := scanAnywhere(pictures[i]); got != o.WaybillNo {
			t.Errorf("the barcode of page %d reads %q, want %q", i+1, got, o.WaybillNo)
		}
	}
}

func TestAnAddressSheetIsReadAcrossADesk(t *testing.T) {
	t.Parallel()
	o := testOrder(3)
	pdf, err := fonts.Addresses([]courier.Order{o})
	if err != nil {
		t.Fatal(err)
	}
	pages, pictures := read(t, pdf)
	if text := squeeze(pages[0]); !strings.Contains(text, "河北省石家庄市长安区示例路1号院2号楼301室") || !strings.Contains(text, "阿依古丽·买买提") {
		t.Errorf("the sheet says %q", text)
	}
	if got := scanAnywhere(pictures[0]); got != o.WaybillNo {
		t.Errorf("the barcode reads %q, want %q", got, o.WaybillNo)
	}
}

func TestLongAddressesAreWrappedAndNeverCut(t *testing.T) {
	t.Parallel()
	o := testOrder(4)
	long := strings.Repeat("示例大街北里甲一号院", 9) + "末尾字"
	o.Recipient.Address = vault.Conceal(long)
	pdf, err := fonts.Labels([]courier.Order{o})
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := read(t, pdf)
	if text := squeeze(pages[0]); !strings.Contains(text, long) {
		t.Errorf("the label lacks a part of %d characters of address: %q", len([]rune(long)), text)
	}
	o.Recipient.Address = vault.Conceal(strings.Repeat("长", 2000))
	if _, err := fonts.Labels([]courier.Order{o}); !errors.Is(err, errTooLong) {
		t.Errorf("an address that does not fit gives %v, want %v", err, errTooLong)
	}
}

func TestACharacterThatNoFontHasIsNotPrintedAsABox(t *testing.T) {
	t.Parallel()
	o := testOrder(5)
	o.Recipient.Name = vault.Conceal("张\U000FFFF0\U000FFFF1\U000FFFF0")
	_, err := fonts.Labels([]courier.Order{testOrder(6), o})
	faults, ok := errors.AsType[courier.Faults](err)
	if !ok || len(faults) != 1 {
		t.Fatalf("Labels gives %v, want one fault", err)
	}
	if got := regexp.MustCompile(`U\+[0-9A-F]+`).FindAllString(faults[0].Detail, -1); !slices.Equal(got, []string{"U+FFFF0", "U+FFFF1"}) {
		t.Errorf("the fault names %v, want each character once: %s", got, faults[0].Detail)
	}
	if !strings.Contains(faults[0].Detail, "EMSD_FONT_FILES") {
		t.Errorf("the fault does not say what to do: %s", faults[0].Detail)
	}
}

// A name of ideographs beyond the first plane needs the second and third font.
func TestRareNamesArePrinted(t *testing.T) {
	t.Parallel()
	o := testOrder(7)
	o.Recipient.Name = vault.Conceal("䶮𠀀𪚥")
	pdf, err := fonts.Labels([]courier.Order{o})
	if err != nil {
		t.Fatal(err)
	}
	_, pictures := read(t, pdf)
	if got := scanAnywhere(pictures[0]); got != o.WaybillNo {
		t.Errorf("the barcode reads %q, want %q", got, o.WaybillNo)
	}
	if ink := inkBetween(pictures[0], 53.0/150, 62.0/150, 0.06, 0.25); ink < 0.02 {
		t.Errorf("only %.3f of the name's place is black: nothing is printed there", ink)
	}
}

// inkBetween is how much of a part of a picture is dark; the part is given in shares of height and width.
func inkBetween(p image.Image, top, bottom, left, right float64) float64 {
	b := p.Bounds()
	dark, all := 0, 0
	for y := int(float64(b.Dy()) * top); y < int(float64(b.Dy())*bottom); y++ {
		for x := int(float64(b.Dx()) * left); x < int(float64(b.Dx())*right); x++ {
			if all++; black(p, x, y) {
				dark++
			}
		}
	}
	return float64(dark) / float64(all)
}

func TestWithoutFontsNothingIsPrinted(t *testing.T) {
	t.Parallel()
	missing := NewFonts([]string{"/nowhere/font.ttf"})
	if err := missing.Check(); err == nil {
		t.Error("Check accepts a file that is not there")
	}
	if err := NewFonts(nil).Check(); !errors.Is(err, errNoFont) {
		t.Errorf("Check without files gives %v", err)
	}
	if _, err := missing.Labels([]courier.Order{testOrder(8)}); err == nil {
		t.Error("a label is drawn without a font")
	}
	if err := fonts.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestManyLabelsBecomeOneDocument(t *testing.T) {
	t.Parallel()
	var documents [][]byte
	var want []string
	for n := range 5 {
		o := testOrder(20 + n)
		one, err := fonts.Labels([]courier.Order{o})
		if err != nil {
			t.Fatal(err)
		}
		documents, want = append(documents, one), append(want, o.WaybillNo)
	}
	all, err := fonts.Join(documents)
	if err != nil {
		t.Fatal(err)
	}
	_, pictures := read(t, all)
	var got []string
	for _, p := range pictures {
		got = append(got, scanAnywhere(p))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages bear %v, want %v", got, want)
	}
	var bad *Unjoinable
	if _, err := fonts.Join([][]byte{documents[0], []byte("%PDF-1.4 torn")}); !errors.As(err, &bad) || bad.Index != 1 {
		t.Errorf("a torn document gives %v, want one that names it", err)
	}
}

func TestAManifestCountsAndSigns(t *testing.T) {
	t.Parallel()
	m := Manifest{Number: "110105001-20261128-01", Station: "示例派出所", Day: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), Clerk: "李经办", Courier: "王师傅",
		ClosedAt: time.Date(2026, 11, 28, 16, 30, 0, 0, time.UTC)}
	for n := range 70 {
		m.Lines = append(m.Lines, ManifestLine{WaybillNo: fmt.Sprintf("12%011d", n), OrderNo: fmt.Sprintf("RP%016d", n), Place: "北京市朝阳区", Collect: n%10 == 0})
	}
	pdf, err := fonts.Manifest(m)
	if err != nil {
		t.Fatal(err)
	}
	pages, pictures := read(t, pdf)
	if len(pages) != 3 {
		t.Fatalf("%d pages, want 3", len(pages))
	}
	for i, want := range []string{"本页31件，共70件", "本页31件，共70件", "本页8件，共70件"} {
		if text := squeeze(pages[i]); !strings.Contains(text, want) || !strings.Contains(text, fmt.Sprintf("第%d页，共3页", i+1)) {
			t.Errorf("page %d lacks %q or its number: %s", i+1, want, text)
		}
		if got := scanAnywhere(pictures[i]); got != m.Number {
			t.Errorf("the barcode of page %d reads %q, want %q", i+1, got, m.Number)
		}
	}
	last := squeeze(pages[2])
	for _, want := range []string{"双方清点一致：70件", "经办人：李经办", "揽投员：王师傅", "2026-11-2816:30"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last page lacks %q: %s", want, last)
		}
	}
	for n := range 70 {
		if no := fmt.Sprintf("12%011d", n); !strings.Contains(strings.Join(pages, ""), no) {
			t.Errorf("the manifest lacks %s", no)
		}
	}
	m.ClosedAt = time.Time{}
	draft, err := fonts.Manifest(m)
	if err != nil {
		t.Fatal(err)
	}
	if pages, _ := read(t, draft); !strings.Contains(squeeze(pages[0]), "未封单") {
		t.Error("a draft is not marked as one")
	}
}
