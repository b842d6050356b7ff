//! Which kinds of objects have which kinds of controllers, among those that Kubernetes' own components make.
//!
//! An owner reference is a claim that anybody can write. A RoleBinding that says it belongs to a Deployment belongs to
//! nobody.

/// Group and kind.
type Kind<'a> = (&'a str, &'a str);

/// Owners and their children.
const CHILDREN: &[(Kind<'static>, Kind<'static>)] = &[
    (("apps", "Deployment"), ("apps", "ReplicaSet")),
    (("apps", "ReplicaSet"), ("", "Pod")),
    (("", "ReplicationController"), ("", "Pod")),
    (("apps", "StatefulSet"), ("", "Pod")),
    (("apps", "StatefulSet"), ("apps", "ControllerRevision")),
    (("apps", "DaemonSet"), ("", "Pod")),
    (("apps", "DaemonSet"), ("apps", "ControllerRevision")),
    (("batch", "CronJob"), ("batch", "Job")),
    (("batch", "Job"), ("", "Pod")),
    (("", "Service"), ("discovery.k8s.io", "EndpointSlice")),
    (("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")),
    (("", "Pod"), ("", "PersistentVolumeClaim")),
    (("", "Pod"), ("resource.k8s.io", "ResourceClaim")),
    // The mirror of a static Pod.
    (("", "Node"), ("", "Pod")),
];

/// Whether a component of Kubernetes makes objects of the one kind for objects of the other.
pub fn may_own(owner: Kind<'_>, child: Kind<'_>) -> bool {
    CHILDREN.contains(&(owner, child))
}

/// Whether a component makes objects of this kind for a controller that is called so.
#[cfg(test)]
pub fn has_owner(child_group: &str, owner_kind: &str) -> bool {
    CHILDREN.iter().any(|((_, owner), (group, _))| (*owner, *group) == (owner_kind, child_group))
}
