use super::*;

fn tip(posts: &[(i64, i64)]) -> Tip {
    Tip {
        latest: posts.to_vec(),
        posts: i64::try_from(posts.len()).unwrap(),
    }
}

fn told(tips: &HashMap<i64, Tip>, limit: i64, offset: i64) -> String {
    let page = merge(tips, Page { limit, offset });
    page.map_or("pull".to_owned(), |page| {
        let keys = page
            .keys
            .iter()
            .map(|key| format!("{}/{}", key.author_id, key.id));
        format!("{} of {}", keys.collect::<Vec<_>>().join(" "), page.total)
    })
}

#[test]
fn tips_are_merged_by_time_then_id() {
    let tips = HashMap::from([
        (1, tip(&[(50, 11), (30, 10)])),
        (2, tip(&[(50, 12), (40, 9)])),
        (3, tip(&[])),
    ]);
    assert_eq!(told(&tips, 3, 0), "2/12 1/11 2/9 of 4");
    assert_eq!(told(&tips, 3, 3), "1/10 of 4");
    assert_eq!(told(&tips, 0, 0), " of 4");
    assert_eq!(told(&HashMap::new(), 20, 0), " of 0");
}

#[test]
fn a_page_beyond_a_cut_tip_is_pulled() {
    let long: Vec<(i64, i64)> = (0..tips::LONGEST).rev().map(|n| (n, n)).collect();
    let mut cut = tip(&long);
    cut.posts = 500;
    let tips = HashMap::from([(1, cut), (2, tip(&[(7, 7)]))]);
    assert_eq!(told(&tips, 2, tips::LONGEST - 2), "1/2 1/1 of 501");
    assert_eq!(told(&tips, 2, tips::LONGEST - 1), "pull");
}
