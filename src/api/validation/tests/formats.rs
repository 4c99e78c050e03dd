//! The hand-written matchers against the regular expressions they stand for.

use proptest::prelude::*;

use super::super::format;

proptest! {
    #[test]
    fn what_the_expressions_make_is_right(
        label in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
        subdomain in "[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?){0,4}",
        key in "([A-Za-z0-9][-A-Za-z0-9_.]{0,20})?[A-Za-z0-9]",
        config in "[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,20}",
        percent in "[0-9]{1,25}%",
    ) {
        prop_assert_eq!(format::dns_label(&label), Vec::<String>::new());
        prop_assert_eq!(format::dns_subdomain(&subdomain), Vec::<String>::new());
        prop_assert_eq!(format::qualified_name(&format!("{subdomain}/{key}")), Vec::<String>::new());
        prop_assert_eq!(format::label_value(&key), Vec::<String>::new());
        prop_assert_eq!(format::config_key(&config), Vec::<String>::new());
        prop_assert!(format::percent(&percent).is_ok());
    }

    #[test]
    fn a_letter_that_does_not_belong_is_seen(label in "[a-z0-9]{1,5}", wrong in "[A-Z_/ é~\u{0}]", rest in "[a-z0-9]{1,5}") {
        let text = format!("{label}{wrong}{rest}");
        prop_assert!(!format::dns_label(&text).is_empty() && !format::dns_subdomain(&text).is_empty());
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,40}") {
        for rule in [
            format::dns_label, format::dns_subdomain, format::dns_search, format::qualified_name, format::label_value, format::config_key, format::env_name,
            format::port_name, format::http_header, format::ip, format::descending_path, format::local_path, format::cidr,
        ] {
            let _ = rule(&text);
        }
        let _ = (format::percent(&text), format::domain_prefixed_path(&text));
    }
}
