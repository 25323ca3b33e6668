package main

import (
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"
)

func TestTodayShowsWhatNeedsSomebodyAndHowItGoes(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	delivery := d.ordered(1)
	d.accept(permit(2))
	if _, err := d.app.db.Exec(`INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action) VALUES (gen_random_uuid(), $1, 'stalled', now() - interval '2 days', now() - interval '1 day', '向邮政查询')`, delivery); err != nil {
		t.Fatal(err)
	}
	if _, err := d.app.db.Exec(`
		INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
		SELECT gen_random_uuid(), CASE WHEN i % 2 = 0 THEN '110102001' ELSE '110103001' END, '北京市', '北京市', (ARRAY['西城区', '石景山区', '门头沟区', '海淀区'])[1 + i % 4],
			now() - interval '9 days', now() - interval '8 days', now() - interval '6 days' + i % 3 * interval '1 day', i % 5 > 0, now() - interval '6 days' + i % 3 * interval '1 day',
			CASE WHEN i % 9 = 0 THEN 'returned' ELSE 'delivered' END
		FROM generate_series(1, 80) AS i`); err != nil {
		t.Fatal(err)
	}
	c := d.clerk(staff.Supervisor, "")
	shows := []string{"需要办理的事项", "已过期", "长时间无进展", "待交寄", "待付费", "每日新收、妥投与退回", "从收寄到妥投的天数", "各区县妥投与退回", "首次投递成功率", "石景山区</text>", "<th scope=\"row\">石景山区</th>"}
	until(t, 20*time.Second, "counted", func() bool {
		page := string(c.get("/console/").body)
		return strings.Contains(page, `?status=ordered">`) && strings.Contains(page, `?status=awaiting_payment">`)
	})
	c.page("/console/", shows...)
	b := newTab(t, d.api).cookies(c)
	b.open("/console/")
	b.accessible("today")
	b.look(shots(t), "today")
	b.do(openDetails)
	b.accessible("today with its tables")
	b.quietly()
	own := d.clerk(staff.Counter, "110103001").page("/console/", "目前没有需要办理的事项", "目前没有在办的居住证")
	if strings.Contains(own, "西城区</text>") {
		t.Error("the charts of a station show another one's districts")
	}
}
