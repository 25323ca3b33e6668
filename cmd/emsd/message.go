package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"emsd/notify"
)

type messageCmd struct {
	Preview  messagePreviewCmd  `cmd:"" help:"Show what residents read, and what each gateway makes of it. Needs no database."`
	TestSend messageTestSendCmd `cmd:"" name:"test-send" help:"Send one real message with sample values through one gateway; the number is read from the input."`
}

// A textChoice names texts on the command line.
type textChoice struct {
	Milestone string `help:"A milestone, or handed_over_password, out_for_delivery_password." placeholder:"NAME"`
	Language  string `enum:"zh,en," default:"" help:"zh or en."`
}

// texts lists those that are meant: all without a milestone, in both languages without one.
func (c textChoice) texts() ([]notify.Milestone, error) {
	languages := notify.Languages
	if c.Language != "" {
		languages = []string{c.Language}
	}
	names := notify.TextNames(notify.Languages[0], true)
	if c.Milestone != "" {
		if names = []notify.Milestone{notify.Milestone(c.Milestone)}; !names[0].HasText() || names[0].In(notify.Languages[0]) != names[0] {
			return nil, usageError{fmt.Errorf("--milestone: %q is none of %s", c.Milestone, listed(notify.TextNames(notify.Languages[0], true)))}
		}
	}
	var all []notify.Milestone
	for _, m := range names {
		for _, l := range languages {
			all = append(all, m.In(l))
		}
	}
	return all, nil
}

func listed(names []notify.Milestone) string {
	all := make([]string, len(names))
	for i, m := range names {
		all[i] = string(m)
	}
	return strings.Join(all, ", ")
}

type messagePreviewCmd struct {
	textChoice
	Sample string `enum:"usual,longest" default:"usual" help:"Values as they usually are, or as long as they can be."`
}

// Run prints each text, then a line for every gateway.
func (c messagePreviewCmd) Run(e *world) error {
	texts, err := c.texts()
	if err != nil {
		return err
	}
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	a := &app{cfg: cfg, clock: newClock(1, time.Now()), log: newLog(e.err, "error")}
	var gateways []notify.Gateway
	for _, name := range cfg.SMS {
		if name == "log" {
			gateways = append(gateways, notify.NewLogGateway(a.log))
			continue
		}
		g, err := a.makeGateway(name)
		if err != nil {
			return err
		}
		gateways = append(gateways, g)
	}
	out := tabwriter.NewWriter(e.out, 0, 4, 2, ' ', 0)
	for _, text := range texts {
		p, err := notify.Preview(gateways, cfg.signatures(), text, notify.Samples[c.Sample])
		if err != nil {
			return err
		}
		printPreview(out, p)
	}
	return out.Flush()
}

func printPreview(out *tabwriter.Writer, p notify.Previewed) {
	fmt.Fprintf(out, "%s  version %d  %d characters\n  %s\n", p.Text, p.Version, p.Characters, p.Words)
	for _, f := range p.Fits {
		template, verdict := f.Template, "fits"
		if template == "" {
			template = "-"
		}
		if f.Why != "" {
			verdict = f.Why
		}
		fmt.Fprintf(out, "    %s\t%s\t%d segment(s)\t%s\n", f.Gateway, template, f.Segments, verdict)
	}
	fmt.Fprintln(out)
}

type messageTestSendCmd struct {
	Gateway   string `required:"" help:"aliyun, mas or tencent, of those in EMSD_SMS."`
	Milestone string `required:"" help:"Whose text to send."`
	Language  string `enum:"zh,en" default:"zh" help:"zh or en."`
	ToStdin   bool   `name:"to-stdin" help:"Read the number from the input."`
	numberFile
}

// Run sends one message and prints what came of it.
func (c messageTestSendCmd) Run(e *world) error {
	if c.ToStdin == (c.PhoneFile != "-") {
		return usageError{errors.New("--to-stdin or --phone-file is wanted: as an argument the number would stand in the shell's history")}
	}
	texts, err := textChoice{Milestone: c.Milestone, Language: c.Language}.texts()
	if err != nil {
		return err
	}
	phone, err := c.read()
	if err != nil {
		return err
	}
	return withApp(e, func(a *app) error {
		if !slices.Contains(a.cfg.SMS, c.Gateway) {
			return usageError{fmt.Errorf("--gateway: %q is none of EMSD_SMS (%s)", c.Gateway, strings.Join(a.cfg.SMS, ", "))}
		}
		t, err := a.trials.Send(e.ctx, c.Gateway, texts[0], phone, operator())
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s: %s through %s", t.State, t.Template, t.Gateway)
		if !t.Fine() {
			fmt.Fprintf(e.out, ", class %s, code %s", t.Class, t.Code)
		}
		fmt.Fprintf(e.out, "\nid %s stands in the audit chain, and with the gateway as ours\n", t.ID)
		if !t.Fine() {
			return fmt.Errorf("the gateway did not accept it: class %s", t.Class)
		}
		return nil
	})
}
