from runlogs.textchecks import check_text


def test_step_and_loss(tmp_path):
    log = "1 8.049097061157227\n2 7.75183629989624\n3 nan\n4 6.154908657073975"
    table = check_text(
        tmp_path,
        log,
        "two_columns",
        steps=[1, 2, 3, 4],
        lines=[1, 2, 3, 4],
        loss=[8.049097061157227, 7.75183629989624, None, 6.154908657073975],
    )
    assert table.nan_rows["loss"].tolist() == [False, False, True, False]
