-- +goose Up
-- Notes are shown to clerks, who read Chinese.
UPDATE policies SET note = '2017年7月10日通知' WHERE note = 'notice of 10 July 2017';
UPDATE policies SET note = '2017年7月10日通知：流管站不在其列，不予寄递' WHERE note = 'registration stations have no row: refused';
UPDATE policies SET note = '2017年7月10日通知：目前只有一家' WHERE note = 'at present the only one';
UPDATE policies SET note = '2017年7月10日通知：身份与住址均未变化' WHERE note = 'identity and address both unchanged';

-- +goose Down
UPDATE policies SET note = 'notice of 10 July 2017' WHERE note = '2017年7月10日通知';
UPDATE policies SET note = 'registration stations have no row: refused' WHERE note = '2017年7月10日通知：流管站不在其列，不予寄递';
UPDATE policies SET note = 'at present the only one' WHERE note = '2017年7月10日通知：目前只有一家';
UPDATE policies SET note = 'identity and address both unchanged' WHERE note = '2017年7月10日通知：身份与住址均未变化';
