//! The way in: a commit is pushed and the cluster becomes what it says.

use std::ops::ControlFlow;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use crate::demo::report::took;
use crate::demo::repository::Pushed;
use crate::demo::story::{Stage, StoryError, expect};

const SHOP: [(&str, &str); 5] = [
    ("namespace.yaml", include_str!("../shop/namespace.yaml")),
    ("access.yaml", include_str!("../shop/access.yaml")),
    ("settings.yaml", include_str!("../shop/settings.yaml")),
    ("web.yaml", include_str!("../shop/web.yaml")),
    ("worker.yaml", include_str!("../shop/worker.yaml")),
];
/// What `web.yaml` declares, and what the second commit makes of it.
pub const REPLICAS: i32 = 2;
pub const MORE_REPLICAS: i32 = 5;

pub async fn open_the_shop(stage: &mut Stage) -> Result<Pushed, StoryError> {
    stage.report.step("A commit becomes the state of the cluster");
    for (file, content) in SHOP {
        stage.repository.write(file, content)?;
    }
    stage.report.command("git commit -m 'Open the shop'  # namespace, access, settings, web, worker");
    stage.repository.commit("Open the shop").await?;
    let (pushed, converged) = push(stage).await?;

    let status = stage.status("the status has a commit", |status| status.commit.is_some()).await?;
    let objects = status.objects.unwrap_or_default();
    let manifests: usize = SHOP.iter().map(|(_, content)| content.split("\n---\n").count()).sum();
    expect(
        usize::try_from(objects.declared) == Ok(manifests) && objects.failed == 0,
        || "objects in the status".into(),
        || format!("{manifests} declared, none failed"),
        || format!("{objects:?}"),
    )?;
    stage.report.met(&format!("{manifests} objects converged {}", since(&pushed, converged)));
    stage.show(&["get", "enforcements"]).await?;
    let pods = replicas(stage, REPLICAS).await?;
    stage
        .show(&["-n", "shop", "get", "deployments,replicasets,services,configmaps,secrets,roles,rolebindings"])
        .await?;
    stage.report.met(&format!(
        "the Deployment has made its ReplicaSet, and that its {pods} Pods: the cluster's own controllers work on \
         (there is no node here to run them)"
    ));
    Ok(pushed)
}

pub async fn scale_up(stage: &mut Stage) -> Result<(), StoryError> {
    stage.report.step("The same edit as a commit goes through");
    stage.repository.edit("web.yaml", &format!("replicas: {REPLICAS}"), &format!("replicas: {MORE_REPLICAS}"))?;
    stage.repository.commit("Scale web up for the sale").await?;
    stage.report.command("git commit -am 'Scale web up for the sale'");
    let diff = stage.repository.diff().await?;
    let changed: Vec<&str> = diff.lines().filter(|line| line.contains("replicas:")).collect();
    stage.report.output(&changed.join("\n"));
    let (pushed, converged) = push(stage).await?;
    stage.report.met(&format!("{} converged {}", pushed.short(), since(&pushed, converged)));
    let pods = replicas(stage, MORE_REPLICAS).await?;
    stage.show(&["-n", "shop", "get", "deployment", "web"]).await?;
    stage.report.met(&format!("spec.replicas is {MORE_REPLICAS}, and there are {pods} Pods"));
    Ok(())
}

pub async fn roll_back(stage: &mut Stage) -> Result<(), StoryError> {
    stage.report.step("git revert rolls back");
    stage.report.command("git revert --no-edit HEAD");
    stage.repository.revert().await?;
    let (pushed, converged) = push(stage).await?;
    stage.report.met(&format!("{} {:?} converged {}", pushed.short(), pushed.subject, since(&pushed, converged)));
    replicas(stage, REPLICAS).await?;
    stage.show(&["-n", "shop", "get", "deployment", "web"]).await?;
    stage.report.command("git log --oneline");
    let log = stage.repository.log().await?;
    stage.report.output(&log);
    Ok(())
}

async fn push(stage: &mut Stage) -> Result<(Pushed, Duration), StoryError> {
    stage.report.command("git push origin main");
    let pushed = stage.repository.push().await?;
    let converged = stage.converged(&pushed).await?;
    Ok((pushed, converged))
}

fn since(pushed: &Pushed, converged: Duration) -> String {
    format!("{} after git push was called, which itself took {}", took(converged), took(pushed.took))
}

/// The Deployment must have this many replicas now, and soon as many Pods.
async fn replicas(stage: &mut Stage, wanted: i32) -> Result<usize, StoryError> {
    let web = Api::<Deployment>::namespaced(stage.client.clone(), "shop").get("web").await?;
    let replicas = web.spec.replicas;
    expect(
        replicas == Some(wanted),
        || "spec.replicas of the Deployment web".into(),
        || wanted.to_string(),
        || format!("{replicas:?}"),
    )?;
    let pods = Api::<Pod>::namespaced(stage.client.clone(), "shop");
    stage
        .eventually("the Pods of the Deployment web", async || {
            let live = pods.list(&ListParams::default().labels("app=web")).await?;
            let count = live.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
            let met = i32::try_from(count) == Ok(wanted);
            Ok(if met { ControlFlow::Break(count) } else { ControlFlow::Continue(format!("{count} Pods")) })
        })
        .await
}
