//! One object, declared twice.

use std::collections::HashMap;

use crate::object::ObjectRef;

/// Where an object is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration<'a> {
    pub id: ObjectRef<'a>,
    pub file: &'a str,
    pub line: u32,
}

/// The declaration that comes second in the order given, and the first one of the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate<'a> {
    pub first: Declaration<'a>,
    pub second: Declaration<'a>,
}

/// Finds objects that are declared more than once. Rendering asks with the identities that the files have; who knows
/// which kinds are namespaced asks again with the namespaces filled in. Versions are no part of an identity, so that
/// `apps/v1` and `apps/v1beta1` of one Deployment are found too.
pub fn find_duplicates<'a>(declarations: impl IntoIterator<Item = Declaration<'a>>) -> Vec<Duplicate<'a>> {
    let mut seen = HashMap::new();
    let mut found = Vec::new();
    for second in declarations {
        match seen.get(&second.id) {
            Some(&first) => found.push(Duplicate { first, second }),
            None => {
                seen.insert(second.id, second);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_further_declaration_is_told_with_the_first() {
        let declare = |namespace, name, file, line| Declaration {
            id: ObjectRef { group: "apps", kind: "Deployment", namespace, name },
            file,
            line,
        };
        let (a, b) = (declare("shop", "web", "a.yaml", 1), declare("shop", "web", "b.yaml", 7));
        let (c, d) = (declare("", "web", "a.yaml", 9), declare("shop", "web", "c.yaml", 3));
        assert_eq!(
            find_duplicates([a, c, b, d]),
            [Duplicate { first: a, second: b }, Duplicate { first: a, second: d }]
        );
        assert_eq!(find_duplicates([a, c]), []);
    }
}
