//! What is not in the way: a write toward Git, and what changes nothing that Git declares.

use crate::demo::kubectl::Kubectl;
use crate::demo::report::took;
use crate::demo::story::{Stage, StoryError, expect};

pub async fn harmless(stage: &mut Stage) -> Result<(), StoryError> {
    stage.report.step("What Git says, anybody may do");
    let manifests = stage.repository.clone_directory().to_string_lossy().into_owned();
    let apply = |directory| ["apply", "--server-side", "-f", directory];
    admitted(stage, &apply(&manifests), &apply(".")).await?;
    let delete = ["-n", "shop", "delete", "pods", "-l", "app=worker"];
    admitted(stage, &delete, &delete).await?;
    stage.report.say("A Pod is its controller's: it makes another one. So draining a node works.");
    Ok(())
}

async fn admitted(stage: &mut Stage, arguments: &[&str], shown: &[&str]) -> Result<(), StoryError> {
    stage.report.command(&Kubectl::line(shown));
    let answer = stage.kubectl.run(&stage.administrator.kubeconfig, arguments).await?;
    stage.report.output(&answer.text);
    expect(answer.success, || Kubectl::line(shown), || "admitted".into(), || answer.text.clone())?;
    stage.report.met(&format!("admitted ({})", took(answer.took)));
    Ok(())
}
