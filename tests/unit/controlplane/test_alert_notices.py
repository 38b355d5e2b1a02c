"""What a notice looks like to Slack."""

from controlplane.alert_notices import slack_message


def test_text_of_others_is_no_markup_to_slack() -> None:
    row = {"event": "fired", "kind": "stuck_work", "tenant": "default", "employee": "ada", "detail": "a <!here> & b"}
    assert slack_message(row) == {"text": ":rotating_light: *stuck work* of default/ada: a &lt;!here&gt; &amp; b"}
    of_all = row | {"event": "cleared", "kind": "disk_nearly_full", "tenant": None, "employee": None}
    assert slack_message(of_all)["text"].startswith(
        ":white_check_mark: over: *disk nearly full* of the control plane; it was: "
    )
